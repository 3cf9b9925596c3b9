"""Commands in messages and hints, completed with the target of the current command."""

from __future__ import annotations

import re
from pathlib import Path

from bazar_cli.domain.command_lines import option
from bazar_cli.registry import TREE, Leaf

_PART = r"""(?:'[^']*'|"[^"]*"|[^`'"])"""
"""A character of a command, or a quoted text, which may hold a backtick or `--`."""
_COMMAND = re.compile(rf"`bazar ({_PART}+?)( -- {_PART}+)?`")
_WITHOUT_TARGET = frozenset({"local", "completion", "help"})
"""Groups that use no target; `config profiles` is another."""
_NAMED = frozenset({"--profile", "--env-file", "--help"})


def with_target(text: str, profile: str | None, env_file: Path | None) -> str:
    """Return a text with the target flag of the current command added to its commands in backticks.

    Without the flag they would run against another target. A target that no flag named needs none.
    """
    if profile is not None:
        flag = option("profile", profile)
    elif env_file is not None:
        flag = option("env-file", str(env_file))
    else:
        return text

    def named(found: re.Match[str]) -> str:
        target = f" {flag}" if _takes_target(found[1]) else ""
        return f"`bazar {found[1]}{target}{found[2] or ''}`"

    return _COMMAND.sub(named, text)


def _takes_target(command: str) -> bool:
    words = command.split()
    if words[0] in _WITHOUT_TARGET or words[:2] == ["config", "profiles"] or _NAMED.intersection(words):
        return False
    node = TREE
    for word in words:
        below = node.commands.get(word)
        if below is None or isinstance(below, Leaf):
            return below is not None
        node = below
    return False
