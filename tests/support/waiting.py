"""Waiting for facts of other processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.people import People

_NEVER_SECONDS = 180
"""No limit of speed: what should wait and does not is told, instead of a hang."""


def until(fact: Callable[[], object]) -> None:
    """Wait for a fact; fail when it never comes true."""
    end = time.monotonic() + _NEVER_SECONDS
    while not fact():
        assert time.monotonic() < end, "waited for what never came"
        time.sleep(0.01)


@contextmanager
def sooner_than(seconds: float) -> Generator[None]:
    """Tell an end at once from one that came when some wait of the product had run out."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def until_waiting(people: People, commands: int) -> None:
    """Return once so many connections wait for a lock in this database; fail when they never do."""
    waiting, end = 0, time.monotonic() + _NEVER_SECONDS
    while waiting < commands:
        (row,) = people.sql(
            "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        waiting = row["n"]
        assert time.monotonic() < end, f"{waiting} connections wait for a lock instead of {commands}"
