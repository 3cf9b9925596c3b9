"""The opaque cursor of a list: where the next page starts, by key and id."""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import cast

from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.texts import from_json

_NOT_PRINTED = "bazar did not print it"


@dataclass(frozen=True)
class Position:
    """The last item of a page: the order it was listed in, its sort key, its id."""

    order: str
    key: datetime | str
    id: uuid.UUID


def encode(position: Position) -> str:
    """Return the position as URL-safe text."""
    key = position.key
    text = key.astimezone(timezone.utc).isoformat() if isinstance(key, datetime) else key
    raw = json.dumps([position.order, text, str(position.id)], separators=(",", ":"))
    return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


def decode(cursor: str, order: str, *, by_time: bool, sortable: bool = False) -> Position:
    """Return the position of a cursor that `encode` made for a list in the same order; no other text is one.

    Parameters: `by_time` says that the sort key is a time; `sortable` that the list has --sort.

    Raises: UsageError `list.cursor_invalid`.
    """
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        # More values, fewer, or of other types, raise one of these errors or are encoded in another way.
        made_for, key, last = cast("list[str]", from_json(raw))
        position = Position(made_for, key, uuid.UUID(last))
        if by_time and made_for == order:
            position = replace(position, key=datetime.fromisoformat(key))
        elif b"\0" in key.encode():
            raise ValueError("Postgres takes no NUL")
        if encode(position) != cursor:
            raise ValueError("written in another way than bazar writes it")
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise _invalid(cursor, _NOT_PRINTED, sortable) from error
    if made_for != order:
        raise _invalid(cursor, f"it belongs to another list or order ({str(made_for)[:20]}, not {order})", sortable)
    return position


def _invalid(cursor: str, rule: str, sortable: bool) -> UsageError:
    like = " and the same --sort" if sortable else ""
    return UsageError(
        "list.cursor_invalid",
        f"the cursor {cursor[:60]!r} cannot be used: {rule}",
        hint=f"give next_cursor of the page before with the same filters{like}, or leave --cursor out",
    )
