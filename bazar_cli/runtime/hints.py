"""Commands that a text tells people to run: for the same target as the command that tells it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from bazar_cli.registry import TREE, Leaf

_COMMAND = re.compile(r"`bazar ([^`]+)`")
_WITHOUT_TARGET = frozenset({"local", "completion", "help"})
"""Groups that speak to no target; `config profiles` is one more."""
_NAMED = frozenset({"--profile", "--env-file", "--help"})


def with_target(text: str, profile: str | None, env_file: Path | None) -> str:
    """Return a text whose commands in backticks name the target that a flag named.

    Without the flag they would find another one, and what they do would be done there. A target that was found
    is found again.
    """
    if profile is not None:
        flag = f" --profile {shlex.quote(profile)}"
    elif env_file is not None:
        flag = f" --env-file {shlex.quote(str(env_file))}"
    else:
        return text
    return _COMMAND.sub(lambda found: f"`bazar {found[1]}{flag if _takes_target(found[1]) else ''}`", text)


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
