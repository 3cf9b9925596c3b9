"""A page of a list, and the cursor that continues it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from bazar_cli.domain.errors import UsageError

T = TypeVar("T")

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000


@dataclass(frozen=True)
class Page(Generic[T]):
    """Items in order; `next_cursor` continues the list, and is None on the last page."""

    items: tuple[T, ...]
    next_cursor: str | None


def checked_limit(limit: int) -> int:
    """Return the page size if it is 1 to 1000.

    Raises: UsageError `list.limit_invalid`.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise UsageError(
            "list.limit_invalid",
            f"--limit {limit} is not valid: a page has 1 to {MAX_LIMIT} items",
            hint="give another --limit, or --all for every page",
        )
    return limit
