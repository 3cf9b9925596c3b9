"""The error for a word that is not a command, with the most likely command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bazar_cli.domain.errors import UsageError
from bazar_cli.registry import NEVER_BY_LETTERS, Group, Leaf, named_by
from bazar_cli.terminal import reports, streams
from bazar_cli.terminal.command_record import refuse
from bazar_cli.terminal.shared import Shared


def unknown_word(group: Group, path: Sequence[str], word: str, words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Report that `group` has no command `word`; return exit code 2."""
    streams.keep_results()
    command = " ".join(["bazar", *path])
    hint = f"`{command} --help` lists the commands"
    if word.startswith("-"):
        right = _moved_behind(group, path, words[len(path) :])
        where = f"write it after the command: `{right}`" if right else f"options come after the command; {hint}"
        error = UsageError("usage.unknown_option", f"`{command}` has no option {word[:80]}", hint=where)
    else:
        near = [f"`bazar {line}`" for line in _meant(group, path, word.lower())]
        if near:
            hint = f"did you mean {' or '.join(near)}? {hint}"
        error = UsageError("usage.unknown_command", f"`{command}` has no command {word[:80]!r}", hint=hint)
    return refuse(error, command, words, environ, Shared(environ), reports.of_words(words, environ))


def _meant(group: Group, path: Sequence[str], word: str) -> list[str]:
    """Return the command lines that a word below a group most likely means: by synonym first, then by its letters.

    A command that destroys or reverses something is named by a synonym or by its name in capitals, never by letters.
    """
    import difflib

    if word in group.commands:
        return [" ".join([*path, word])]
    if lines := named_by(" ".join(path), word):
        return lines
    near = difflib.get_close_matches(word, group.commands, 2, cutoff=0.5)
    return [" ".join([*path, name]) for name in near] if NEVER_BY_LETTERS.isdisjoint(near[:1]) else []


def _moved_behind(group: Group, path: Sequence[str], words: Sequence[str]) -> str:
    """Return the command line with its leading common options moved after the command; empty if that is not possible.

    Parameters: `words` begin with the option, below `group`.
    """
    import shlex

    rest = list(words)
    moved: list[str] = []
    takes_value = _takes_value()
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        name = option.partition("=")[0]
        if name not in takes_value:
            return ""
        moved.append(option)
        if takes_value[name] and name == option:
            if not rest:
                return ""
            moved.append(rest.pop(0))
    node: Group | Leaf | None = group
    for index, word in enumerate(rest):
        node = node.commands.get(word) if isinstance(node, Group) else None
        if isinstance(node, Leaf):
            return shlex.join(["bazar", *path, *rest[: index + 1], *moved, *rest[index + 1 :]])
    return ""


def _takes_value() -> dict[str, bool]:
    """Return whether a value follows, by the spelling of each common option."""
    from bazar_cli.terminal.command_texts import common_options

    return {name: bool(option.metavar) for option in common_options() for name in option.names}
