"""Another machine's clock, for one process: `python shifted.py SECONDS MODULE ARGUMENTS...`.

Runs the module with `time.time` and `datetime.now` that many seconds ahead, or behind. What measures a
duration (`time.monotonic`) goes on as it is, as it does on a machine whose clock is wrong.
"""

from __future__ import annotations

import datetime as dt
import runpy
import sys
import time
from collections.abc import Callable
from typing import Any


class _Kind(type):
    """The shifted class takes every real datetime for its own: libraries written in C make those."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _REAL)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _REAL)


_REAL = dt.datetime


def shift(seconds: float) -> None:
    """Set this process's clock; call before anything else is imported."""
    by = dt.timedelta(seconds=seconds)
    real_time: Callable[[], float] = time.time

    class Shifted(_REAL, metaclass=_Kind):
        __slots__ = ()

        def __new__(cls, *given: Any, **named: Any) -> Any:
            return _REAL(*given, **named)

        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> _REAL:
            return _REAL.now(tz) + by

    time.time = lambda: real_time() + seconds
    dt.datetime = Shifted


def python_module(module: str, clock: float = 0) -> list[str]:
    """Return the command that runs a module, with its clock this number of seconds ahead."""
    return [sys.executable, *([__file__, str(clock)] if clock else ["-m"]), module]


if __name__ == "__main__":
    del sys.path[0]  # this folder: its files are no modules of their own
    shift(float(sys.argv[1]))
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
