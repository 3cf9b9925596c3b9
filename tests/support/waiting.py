"""Waiting for facts of other processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager


def until(fact: Callable[[], object]) -> None:
    """Wait for a fact."""
    while not fact():
        time.sleep(0.01)


@contextmanager
def sooner_than(seconds: float) -> Generator[None]:
    """Tell an end at once from one that came when some wait of the product had run out."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds
