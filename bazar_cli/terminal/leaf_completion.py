"""Completion behind the name of a command: its options, their values, and its arguments."""

from __future__ import annotations

from bazar_cli.registry import TOPICS, TREE, Group, Leaf
from bazar_cli.terminal.command_texts import Parameter, command_text

TYPE_CHECKING = False  # as in `width`
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_FILE = ":file"
"""Instead of candidates: the shell completes file names itself."""
_HELP = ("-h", "--help")
_HELP_TEXT = "this text"


def leaf_candidates(leaf: Leaf, given: Sequence[str], word: str, environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the candidates for `word` after a command, with their help; none if they are unknown.

    Parameters: `given` are the words between the command and `word`.
    """
    return _Completion(leaf, environ).candidates(given, word)


class _Given:
    """The words before the cursor, read as options, values and arguments."""

    def __init__(self) -> None:
        self.options: list[Parameter] = []
        self.arguments: list[str] = []
        self.awaited: Parameter | None = None
        """The option whose value comes next."""
        self.options_ended = False


class _Completion:
    """The parameters of one command."""

    def __init__(self, leaf: Leaf, environ: Mapping[str, str]) -> None:
        text = command_text(leaf.module)
        self._environ = environ
        self._fields = text.fields
        self._arguments = text.arguments
        self._options = [*text.options, *text.common]
        self._by_name = {name: option for option in self._options for name in option.names}

    def candidates(self, words: Sequence[str], word: str) -> list[tuple[str, str]]:
        """Return the candidates for `word` after `words`."""
        given = self._read(words)
        if given.options_ended or not word.isprintable():
            return []
        if given.awaited is not None:
            return self._values(given.awaited, given, word)
        name, equals, value = word.partition("=")
        if equals and name.startswith("--"):
            option = self._by_name.get(name)
            found = self._values(option, given, value) if option is not None else []
            return [(v if v == _FILE else f"{name}={v}", text) for v, text in found]
        if word.startswith("-"):
            return _starting(word, self._names(given))
        argument = self._argument(len(given.arguments))
        if argument is not None:
            return self._values(argument, given, word)
        # Only an option can follow: offer the long spellings.
        return [] if word else _starting("--", self._names(given))

    def _read(self, words: Iterable[str]) -> _Given:
        """Read the words as the parser would; what the parser would refuse is passed over."""
        given = _Given()
        for word in words:
            if given.awaited is not None:
                given.awaited = None
            elif given.options_ended or not word.startswith("-") or word == "-":
                given.arguments.append(word)
            elif word == "--":
                given.options_ended = True
            elif word.startswith("--"):
                name, equals, _ = word.partition("=")
                self._take(given, name, has_value=bool(equals))
            else:
                self._take_letters(given, word[1:])
        return given

    def _take(self, given: _Given, name: str, *, has_value: bool) -> bool:
        """Record an option; return whether it takes a value."""
        option = self._by_name.get(name)
        if option is None:
            return False
        given.options.append(option)
        if option.metavar and not has_value:
            given.awaited = option
        return bool(option.metavar)

    def _take_letters(self, given: _Given, letters: str) -> None:
        """Record short options in one word: `-qy`, or with a value at the end: `-ojson`."""
        for index, letter in enumerate(letters, start=1):
            if self._take(given, f"-{letter}", has_value=index < len(letters)):
                return

    def _names(self, given: _Given) -> list[tuple[str, str]]:
        """The names of the options that can still be given."""
        free = [option for option in self._options if option not in given.options]
        found = [(name, option.help) for option in free for name in option.names]
        return [*found, *((name, _HELP_TEXT) for name in _HELP)]

    def _argument(self, index: int) -> Parameter | None:
        """The argument at a position; the last one may take any number of words."""
        if index < len(self._arguments):
            return self._arguments[index]
        last = self._arguments[-1] if self._arguments else None
        return last if last is not None and "..." in last.metavar else None

    def _values(self, parameter: Parameter, given: _Given, word: str) -> list[tuple[str, str]]:
        """The values of an option or argument, where they are known."""
        if parameter.values == [_FILE]:
            return [(_FILE, "")]
        if parameter.values == [":profiles"]:
            return _starting(word, self._profiles())
        if parameter.values == [":topics"]:
            return _starting(word, _explained(given.arguments, word))
        if parameter.values == [":fields"]:
            chosen, comma, _ = word.rpartition(",")
            left = [name for name in self._fields if name not in chosen.split(",")]
            return _starting(word, [(f"{chosen}{comma}{name}", "") for name in left])
        return _starting(word, [(value, "") for value in parameter.values])

    def _profiles(self) -> list[tuple[str, str]]:
        """The profiles with their addresses; reads no secret, because a keyring may ask for its password."""
        from bazar_cli.terminal.streams import prints_as_messages

        with prints_as_messages():
            from bazar_cli.adapters.config.profiles import Profiles
            from bazar_cli.domain.errors import BazarError
            from bazar_cli.domain.urls import without_secrets

            try:
                profiles = Profiles(self._environ).read().profiles
            except BazarError:
                # A broken profile file, for example. The command itself reports it.
                return []
        urls = {name: str(profiles[name].get("supabase_url", "")) for name in sorted(profiles)}
        return [(name, without_secrets(url)) for name, url in urls.items() if _is_word(name)]


def _starting(word: str, candidates: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(value, text) for value, text in candidates if value.startswith(word)]


def _explained(words: Sequence[str], word: str) -> list[tuple[str, str]]:
    """What `bazar help` explains after `words`; error codes only for a `word` with a point, because they are many."""
    if "." in word and not words:
        from bazar_cli.terminal.error_texts import meanings

        return [(code, meaning) for code, (_, meaning) in meanings().items()]
    node: Group | Leaf | None = TREE
    for word in words:
        node = node.commands.get(word) if isinstance(node, Group) else None
    commands = node.commands if isinstance(node, Group) else {}
    topics = {} if words else TOPICS
    return [*((name, below.help) for name, below in commands.items()), *topics.items()]


def _is_word(name: str) -> bool:
    """Whether every shell takes this as one word without quotes; a file edited by hand may hold any name."""
    return name.isprintable() and not set(name) & set(" \t'\"\\$`!*?[](){}<>|&;~#")
