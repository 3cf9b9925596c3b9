"""Wait for a condition that can only be polled."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from bazar_cli.domain.errors import BazarError

T = TypeVar("T")


def poll(
    ask: Callable[[], T | None],
    *,
    seconds: float,
    pause: float | tuple[float, float],
    again: Callable[[BazarError], bool] = lambda _: False,
    on_wait: Callable[[], None] | None = None,
) -> T | None:
    """Call `ask` until it returns something other than None or False, and return that.

    The first call comes at once, the last one when `seconds` are over. The result of the last call is always returned.
    Parameters: `pause` is the time between two calls in seconds, or a range from which each is drawn, so that many
    commands that wait for the same thing do not ask at the same moment; `again` says which errors to ignore;
    `on_wait` is called once, before the first pause.
    Raises: what `ask` raises, at once or from the last call.
    """
    deadline = time.monotonic() + seconds
    low, high = pause if isinstance(pause, tuple) else (pause, pause)
    while True:
        try:
            found = ask()
            if found or time.monotonic() >= deadline:
                return found
        except BazarError as error:
            if time.monotonic() >= deadline or not again(error):
                raise
        if on_wait is not None:
            on_wait()
            on_wait = None
        left = max(0.0, deadline - time.monotonic())
        time.sleep(min(random.uniform(low, high), left))  # noqa: S311 - jitter, no secret
