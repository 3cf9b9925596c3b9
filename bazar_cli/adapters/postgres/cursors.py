"""The opaque cursor of a list: where the next page starts, by key and id."""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from bazar_cli.domain.errors import UsageError

_NONE_OF_OURS = "it is none that bazar printed"


@dataclass(frozen=True)
class Position:
    """The last item of a page: the order it was listed in, its sort key as text, its id."""

    order: str
    key: str
    id: uuid.UUID


def encode(position: Position) -> str:
    """Return the position as URL-safe text."""
    raw = json.dumps([position.order, position.key, str(position.id)], separators=(",", ":"))
    return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


def decode(cursor: str, order: str, *, by_time: bool, sortable: bool = False) -> Position:
    """Return the position of a cursor that `encode` made for a list in the same order.

    Parameters: `by_time` says that the sort key must be a time; Postgres would refuse another one; `sortable` that
    the list has --sort.

    Raises: UsageError `list.cursor_invalid`.
    """
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        values: object = json.loads(raw)
        if not isinstance(values, list):
            raise ValueError("a cursor holds a list")
        made_for, key, last = cast("list[str]", values)
        position = Position(str(made_for), str(key), uuid.UUID(last))
    except (ValueError, TypeError, AttributeError, binascii.Error) as error:
        raise _invalid(cursor, _NONE_OF_OURS, sortable) from error
    if by_time and position.order == order:
        try:
            datetime.fromisoformat(position.key)
        except ValueError as error:
            raise _invalid(cursor, _NONE_OF_OURS, sortable) from error
    if "\0" in position.key:
        raise _invalid(cursor, _NONE_OF_OURS, sortable)
    if position.order != order:
        raise _invalid(cursor, f"it belongs to another list or order ({position.order}, not {order})", sortable)
    return position


def _invalid(cursor: str, rule: str, sortable: bool) -> UsageError:
    like = " and the same --sort" if sortable else ""
    return UsageError(
        "list.cursor_invalid",
        f"the cursor {cursor[:60]!r} cannot be used: {rule}",
        hint=f"give next_cursor of the page before with the same filters{like}, or leave --cursor out",
    )
