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
"""Signals that people, service managers and closing terminals send to end a command."""


class _Hold:
    """Delays a first signal until the hold ends; a second one ends the command at once."""

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}
        self._first: signal.Signals | None = None

    def begin(self) -> None:
        """Hold signals from now on; does nothing outside the main thread, where Python delivers no signals."""
        if self._before or threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN and before is not None:
                self._before[number] = before
                signal.signal(number, self._arrived)

    @property
    def waits(self) -> bool:
        """Whether a signal waits."""
        return self._first is not None

    def end(self) -> None:
        """Let signals act again, the waiting one first."""
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
    """Lend a function that begins a step; from its call to the end of the block a first signal waits.

    Call it just before the commit that begins the step: an interrupt before it rolls back. A block lasts at most as
    long as the timeouts of its calls. Whatever it leaves is safe to run again.
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
    """Let a first signal wait until the end of the block, and lend a function that says whether one waits.

    This is for many steps in a row or on many threads. Each step calls the function before it begins.
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
    """Extend a step that begins in the block to the end of the block: its result is shown before a signal acts."""
    hold = _Hold()
    token = _outer.set(hold)
    try:
        yield
    finally:
        _outer.reset(token)
        hold.end()
