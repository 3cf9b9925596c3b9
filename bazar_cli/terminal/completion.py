"""Completion of a command line: the candidates for the word at the cursor.

The names of groups and commands come from the registry alone (docs/decisions/0007), so this module imports
nothing else before a command is named; `leaf_completion` completes what follows a command.
"""

from __future__ import annotations

import os

from bazar_cli.registry import TREE, Group, Leaf


def complete(words: list[str]) -> str:
    """Return the candidates for the last of `words`, one `value<TAB>help` per line.

    Parameters: `words` are those after `bazar` up to the cursor, the last one incomplete or empty. The line
    `:file` asks the shell to complete file names itself. A line that is not a command has no candidates.
    """
    *before, word = words or [""]
    node: Group | Leaf = TREE
    for index, name in enumerate(before):
        below = node.commands.get(name)
        if below is None:
            return ""
        if isinstance(below, Leaf):
            from bazar_cli.terminal.leaf_completion import leaf_candidates

            return _lines(leaf_candidates(below, before[index + 1 :], word, os.environ))
        node = below
    return _lines(_names(node, word, root=not before))


def _names(group: Group, word: str, *, root: bool) -> list[tuple[str, str]]:
    """The commands of a group; its options only for a word that begins like one."""
    options = {"--help": "this text", "--version": "the version of bazar"} if root else {"--help": "this text"}
    found = options if word.startswith("-") else {name: node.help for name, node in group.commands.items()}
    return [(name, text) for name, text in found.items() if name.startswith(word)]


def _lines(candidates: list[tuple[str, str]]) -> str:
    return "".join(f"{value}\t{_plain(text)}\n" if text else f"{value}\n" for value, text in candidates)


def _plain(text: str) -> str:
    if text.isprintable():
        return text
    from bazar_cli.terminal.escape import escaped

    return escaped(text)
