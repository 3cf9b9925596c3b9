"""Completion behind the name of a command: its options, their values, and its arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from bazar_cli.domain.errors import BazarError
from bazar_cli.domain.urls import without_secrets
from bazar_cli.registry import TREE, Group, Leaf
from bazar_cli.terminal.command import Verb
from bazar_cli.terminal.options import Options
from bazar_cli.terminal.redact import Redactor
from bazar_cli.terminal.run import Context
from bazar_cli.terminal.topics import TOPICS

Candidates = list[tuple[str, str]]
"""Values with their help."""
FILE = ":file"
"""In place of candidates: the shell knows the files better."""
_HELP = ("-h", "--help")
_TAKES_PROFILE = frozenset({"bazar_cli.commands.config.profiles.remove", "bazar_cli.commands.config.profiles.use"})
"""Commands whose argument is the name of a profile."""


def leaf_candidates(
    leaf: Leaf, path: Sequence[str], given: Sequence[str], word: str, environ: Mapping[str, str]
) -> Candidates:
    """Return what could stand for `word` behind a command; nothing where that cannot be found out.

    Parameters: `path` leads to the command, `given` stands between it and `word`.
    """
    try:
        return _Completion(leaf, path, environ).of(given, word)
    except BazarError:
        # A broken profile file, for example: the command itself will say so, and better.
        return []


@dataclass
class _Given:
    """What the words before the cursor mean."""

    options: set[str] = field(default_factory=set[str])
    arguments: list[str] = field(default_factory=list[str])
    awaited: Any = None
    """The option whose value comes next."""
    options_ended: bool = False


class _Completion:
    """The parameters of one command."""

    def __init__(self, leaf: Leaf, path: Sequence[str], environ: Mapping[str, str]) -> None:
        verb: Verb[Any] = import_module(leaf.module).run
        context = Context(environ, "", Redactor(environ))
        command = verb.command(" ".join(["bazar", *path]), lambda _run: None, context)
        params: list[Any] = [p for p in command.params if not getattr(p, "hidden", False)]
        self._environ = environ
        self._verb = verb
        self._explains_words = leaf.module == "bazar_cli.commands.help"
        self._names_profile = leaf.module in _TAKES_PROFILE
        own = get_type_hints(verb.body)
        shared = [kind for kind in own.values() if isinstance(kind, type) and is_dataclass(kind)]
        self._kinds: dict[str, Any] = {
            name: k for kind in (Options, *shared) for name, k in get_type_hints(kind).items()
        }
        self._kinds |= own
        self._arguments = [p for p in params if p.param_type_name == "argument"]
        self._options = [p for p in params if p.param_type_name == "option"]
        self._by_name = {name: p for p in self._options for name in (*p.opts, *p.secondary_opts)}

    def of(self, given: Sequence[str], word: str) -> Candidates:
        """Return the candidates for `word` after `given`."""
        meant = self._read(given)
        if meant.options_ended:
            return []
        if meant.awaited is not None:
            return self._values(meant.awaited, word)
        name, equals, value = word.partition("=")
        if equals and name.startswith("--"):
            option = self._by_name.get(name)
            found = [] if option is None or option.is_flag else self._values(option, value)
            return [(v if v == FILE else f"{name}={v}", text) for v, text in found]
        if word.startswith("-"):
            return _starting(word, self._names(meant.options))
        argument = self._argument(len(meant.arguments))
        if argument is not None:
            return self._argument_values(argument, meant.arguments, word)
        # Nothing but an option can follow: show them, in their long form.
        return [] if word else _starting("--", self._names(meant.options))

    def _read(self, words: Iterable[str]) -> _Given:
        """Read the words as the parser would, and leave what it would refuse to it."""
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
        """Note an option; return whether it takes a value."""
        option = self._by_name.get(name)
        if option is None:
            return False
        given.options.add(option.name)
        if not option.is_flag and not has_value:
            given.awaited = option
        return not option.is_flag

    def _take_letters(self, given: _Given, letters: str) -> None:
        """Note short options in one word: `-qy`, or with a value at the end: `-ojson`."""
        for index, letter in enumerate(letters, start=1):
            if self._take(given, f"-{letter}", has_value=index < len(letters)):
                return

    def _names(self, used: set[str]) -> Candidates:
        """The names of the options that can still be given."""
        free = [p for p in self._options if p.name not in used or p.multiple]
        found = [(name, p.help or "") for p in free for name in (*p.opts, *p.secondary_opts)]
        return [*found, *((name, "this text") for name in _HELP)]

    def _argument(self, index: int) -> Any:
        """The argument at a position; the last one may take any number of words."""
        if index < len(self._arguments):
            return self._arguments[index]
        last = self._arguments[-1] if self._arguments else None
        return last if last is not None and last.nargs == -1 else None

    def _argument_values(self, argument: Any, before: Sequence[str], word: str) -> Candidates:
        if self._explains_words:
            return _starting(word, _explained(before))
        if self._names_profile:
            return _starting(word, self._profiles())
        return self._values(argument, word)

    def _values(self, parameter: Any, word: str) -> Candidates:
        """The values of an option or argument, where they are known."""
        kind = _bare(self._kinds[parameter.name])
        if issubclass(kind, Path):
            return [(FILE, "")]
        if issubclass(kind, Enum):
            return _starting(word, [(str(member.value), "") for member in kind])
        if parameter.opts == ["--profile"]:
            return _starting(word, self._profiles())
        if parameter.opts == ["--fields"]:
            return _starting(word, self._fields(word))
        return []

    def _fields(self, word: str) -> Candidates:
        """The fields of the result, behind those that the list already has."""
        chosen, comma, _ = word.rpartition(",")
        names = self._verb.view.fields if self._verb.view is not None else ()
        return [(f"{chosen}{comma}{name}", "") for name in names if name not in chosen.split(",")]

    def _profiles(self) -> Candidates:
        """The profiles with their addresses; reading no secret, as a keyring may ask for its password."""
        from bazar_cli.adapters.config.profiles import Profiles

        profiles = Profiles(self._environ).read().profiles
        urls = {name: str(profiles[name].get("supabase_url", "")) for name in sorted(profiles)}
        return [(name, without_secrets(url)) for name, url in urls.items() if _is_word(name)]


def _starting(word: str, candidates: Iterable[tuple[str, str]]) -> Candidates:
    return [(value, text) for value, text in candidates if value.startswith(word)]


def _explained(words: Sequence[str]) -> Candidates:
    """What `bazar help` explains behind `words`."""
    node: Group | Leaf | None = TREE
    for word in words:
        node = node.commands.get(word) if isinstance(node, Group) else None
    commands = node.commands if isinstance(node, Group) else {}
    topics = [] if words else [(topic, "") for topic in TOPICS]
    return [*((name, below.help) for name, below in commands.items()), *topics]


def _bare(annotation: Any) -> type:
    """`X` of `X`, `X | None` and `list[X]`."""
    inner = [part for part in get_args(annotation) if part is not NoneType]
    return _bare(inner[0]) if inner else annotation


def _is_word(name: str) -> bool:
    """Whether every shell takes this as one word without quotes; a file edited by hand may hold any name."""
    return name.isprintable() and not set(name) & set(" \t'\"\\$`!*?[](){}<>|&;~#")
