"""Ctrl-C between two systems: the step in hand is finished first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What people, service managers and closing terminals send to end a command."""


class _Hold:
    """A first signal waits until the hold ends; a second one ends the command at once."""

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}
        self._first: signal.Signals | None = None

    def begin(self) -> None:
        """Hold signals from now on. Outside the main thread, where Python delivers none, it does nothing."""
        if self._before or threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN and before is not None:
                self._before[number] = before
                signal.signal(number, self._arrived)

    @property
    def waits(self) -> bool:
        """Whether a signal came and waits."""
        return self._first is not None

    def end(self) -> None:
        """Let signals act again, and the one that waited."""
        self._restore()
        if self._first is not None:
            _act(self._first)

    def _arrived(self, number: int, _frame: FrameType | None) -> None:
        if self._first is None:
            self._first = signal.Signals(number)
            return
        self._restore()
        _act(signal.Signals(number))

    def _restore(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()


def _act(number: signal.Signals) -> None:
    if number is signal.SIGINT:
        raise KeyboardInterrupt
    signal.raise_signal(number)


_outer: ContextVar[_Hold | None] = ContextVar("outer", default=None)


@contextmanager
def step_in_hand() -> Generator[Callable[[], None]]:
    """Lend the call that begins a step: from then to the block's end a first SIGINT, SIGTERM or SIGHUP waits.

    It is called last before the commit that begins the step: what is interrupted before is rolled back. A
    block takes at most the timeouts of its calls. What it leaves is safe to run again in any case.
    """
    outer = _outer.get()
    hold = outer or _Hold()
    try:
        yield hold.begin
    finally:
        if outer is None:
            hold.end()


@contextmanager
def between_steps() -> Generator[Callable[[], bool]]:
    """Let a first signal wait until the block's end, and lend the call that says whether one does.

    For many steps in a row, or on many threads: each looks before it begins, and the block ends after those in hand.
    """
    outer = _outer.get()
    hold = outer or _Hold()
    token = _outer.set(hold)
    hold.begin()
    try:
        yield lambda: hold.waits
    finally:
        _outer.reset(token)
        if outer is None:
            hold.end()


@contextmanager
def until_shown() -> Generator[None]:
    """Let a step that begins within the block last to the block's end: what is shown only once is not lost."""
    hold = _Hold()
    token = _outer.set(hold)
    try:
        yield
    finally:
        _outer.reset(token)
        hold.end()
