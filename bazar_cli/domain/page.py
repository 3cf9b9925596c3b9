"""A page of a list, and the cursor that continues it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000


@dataclass(frozen=True)
class Page(Generic[T]):
    """Items in order and where the next page starts; `next_cursor` None means that this was the last."""

    items: tuple[T, ...]
    next_cursor: str | None
