"""Waiting for facts of other processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from tests.support.people import People

T = TypeVar("T")
_PAUSE_SECONDS = 0.01
_NEVER_SECONDS = 180
"""No limit of speed: a wait that does not end fails instead of hanging."""


def poll(fact: Callable[[], T], *, seconds: float = _NEVER_SECONDS) -> T:
    """Ask until the answer is true, and return it; fail when it is not in this time."""
    end = time.monotonic() + seconds
    while not (answer := fact()):
        assert time.monotonic() < end, "waited for what never came"
        time.sleep(_PAUSE_SECONDS)
    return answer


@contextmanager
def sooner_than(seconds: float) -> Generator[None]:
    """Fail if the block takes longer, as it does when a wait of the product runs out."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def until_turned_away(people: People, commands: int = 1) -> None:
    """Return once this number of commands has met a lease and rolled back; they will try again."""
    met = "application_name = 'bazar' AND query = 'ROLLBACK'"
    sessions = f"SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND {met}"
    poll(lambda: len(people.sql(sessions)) >= commands)


def until_waiting(people: People, commands: int) -> None:
    """Return once this number of connections waits for a lock in this database; fail when they never do."""
    waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    poll(lambda: len(people.sql(waiting)) >= commands)
