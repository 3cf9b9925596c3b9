"""The live command tree, for tests that walk all of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from typing import Any, cast, get_args

from bazar_cli.registry import TREE, Group, Leaf
from bazar_cli.terminal.command import Verb
from bazar_cli.terminal.help_text import Terms
from bazar_cli.terminal.options import Options
from bazar_cli.terminal.topics import TOPICS
from bazar_cli.terminal.typer_lite import LiteCommand

COMMON_OPTIONS = tuple(field.name for field in fields(Options))
"""The options that commands share, by the names of their parameters."""


def leaves(group: Group = TREE, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Leaf]]:
    """Yield every command with the words that lead to it."""
    for word, node in group.commands.items():
        if isinstance(node, Leaf):
            yield (*words, word), node
        else:
            yield from leaves(node, (*words, word))


def verb(leaf: Leaf) -> Verb[Any]:
    """Return the declarations of a leaf's module."""
    found: Any = import_module(leaf.module).run
    assert isinstance(found, Verb), f"{leaf.module}.run is no command"
    return cast("Verb[Any]", found)


def command(words: tuple[str, ...], leaf: Leaf) -> LiteCommand:
    """Return the Typer command of a leaf, whose help is 100 columns wide."""
    return verb(leaf).command(" ".join(["bazar", *words]), {"COLUMNS": "100"})


def kind_of(parameter: Any) -> Any:
    """`X` of a parameter that takes `X`, `X | None` or `list[X]`."""
    annotation = parameter.type_descriptor.annotation
    while get_args(annotation):
        annotation = get_args(annotation)[0]
    return annotation


VARIABLES = [term for block in TOPICS["environment"] if isinstance(block, Terms) for term, _ in block.rows]
"""Every variable that `bazar help environment` names."""
ALL = {" ".join(words): (words, leaf) for words, leaf in leaves()}
"""Every command, by its words."""
