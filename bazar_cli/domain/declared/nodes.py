"""A YAML or JSON document as a tree in which every value has its line and column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, Union

Place: TypeAlias = "tuple[int, int]"
"""Line and column, from 1."""


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a document: a mapping, a list, a text, null, or a scalar of another type."""

    value: Value
    at: Place


@dataclass(frozen=True)
class OtherScalar:
    """A number, a boolean or another scalar that no field takes. `kind` names it in messages, such as `a number`."""

    kind: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a mapping: the place of its key, and its value."""

    at: Place
    node: Node


Value: TypeAlias = Union["Mapping[str, Entry]", "list[Node]", str, OtherScalar, None]


class UnreadableDocument(ValueError):
    """The text is not a document of the format; `reason` begins with the line and the column, where they are known."""

    def __init__(self, reason: str, at: Place | None = None) -> None:
        self.at = at
        self.reason = f"{reason}" if at is None else f"line {at[0]} column {at[1]}: {reason}"
        super().__init__(self.reason)


def kind_of(value: Value) -> str:
    """Return the kind of a value for messages."""
    if isinstance(value, OtherScalar):
        return value.kind
    if value is None:
        return "null"
    return "a text" if isinstance(value, str) else "a list" if isinstance(value, list) else "an object"
