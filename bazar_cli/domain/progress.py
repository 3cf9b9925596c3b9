"""The progress of long work, as services report it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Gets what is being done, such as `users created`, how much is done, and the total; None if it is unknown."""


def ignored(_doing: str, _done: int, _total: int | None) -> None:
    """Report nothing."""
