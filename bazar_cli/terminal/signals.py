"""SIGTERM and SIGHUP end a command as Ctrl-C does: by an exception in the main thread, and then by the signal.

So the command leaves its record and its root span. It also ends as process 1 of a container, for which the kernel drops
each signal that has no handler.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
_SHELL = 128
"""A shell adds this to the number of the signal that ended a command."""


class EndedBySignal(KeyboardInterrupt):
    """A signal is to end the command. Parameters: `number` is that of the signal."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def raised() -> Generator[None]:
    """Raise EndedBySignal in the block for a first signal. A second one ends the process at once.

    Signals that the caller ignores, as nohup does, remain ignored. Python delivers signals to the main thread only.
    """
    ours = [
        number
        for number in _SIGNALS
        if threading.current_thread() is threading.main_thread() and signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in ours:
        signal.signal(number, _raise)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def end_at_once() -> None:
    """Let signals end this process without an exception, as before `raised`: for a process that was forked in it."""
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """Return the exit code that a shell shows for a command that this interrupt ended."""
    return _SHELL + _number(interrupt)


def end_by(interrupt: KeyboardInterrupt) -> NoReturn:
    """End by the signal, so that a calling shell stops its loop too; process 1 ends with the code of the signal."""
    _end_now(_number(interrupt), None)


def _number(interrupt: KeyboardInterrupt) -> int:
    return interrupt.number if isinstance(interrupt, EndedBySignal) else signal.SIGINT


def _raise(number: int, _frame: FrameType | None) -> NoReturn:
    for each in _SIGNALS:
        if signal.getsignal(each) is _raise:
            signal.signal(each, _end_now)
    raise EndedBySignal(number)


def _end_now(number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    # Only process 1 is still here.
    os._exit(_SHELL + number)
