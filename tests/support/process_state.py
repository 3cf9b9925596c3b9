"""What a command leaves behind in its process, so that the process can run another one as if it were new."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Collection
from types import BuiltinMethodType, FunctionType, ModuleType
from typing import Any

_PACKAGE = "bazar_cli"
_HOOKS = (
    (logging.Logger, "callHandlers"),
    (warnings, "showwarning"),
    (threading, "excepthook"),
    (sys, "excepthook"),
    (sys, "unraisablehook"),
)
"""What `bazar` replaces while a command runs."""
_SIGNALS = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGPIPE,
    signal.SIGCHLD,
    signal.SIGALRM,
)
_COLLECTED_EVERY = 10
"""Looking for garbage after every command would take a quarter of its time."""


class ProcessState:
    """A process of the fork server before its first command.

    Parameters: `streams` are the descriptors of the command's streams, which it closes.
    """

    def __init__(self, streams: Collection[int]) -> None:
        # `main` freezes all objects at its end, so that the interpreter does not look at them. Here they are garbage.
        gc.freeze = lambda: None
        modules = [module for name, module in sys.modules.items() if name.partition(".")[0] == _PACKAGE]
        self._variables = [(vars(module), name, value) for module in modules for name, value in _variables(module)]
        self._caches = [value for module in modules for value in _caches(module)]
        self._hooks = [(owner, name, getattr(owner, name)) for owner, name in _HOOKS]
        self._modules = len(sys.modules)
        self._nothing = os.open(os.devnull, os.O_RDWR)
        self._signals = _signals()
        self._files = _open_files() - set(streams)
        self._restored = 0

    def restore(self) -> bool:
        """Undo what a command changed in the memory of this process.

        Return whether the process can run another command: it has the same open files, signal handlers, threads and
        imported modules as before, and no child.
        """
        for values, name, value in self._variables:
            values[name] = value
        for clear in self._caches:
            clear()
        for owner, name, value in self._hooks:
            setattr(owner, name, value)
        os.chdir("/")
        # The reader of a pipe that this process kept open would wait for its end.
        for stream in (0, 1, 2):
            os.dup2(self._nothing, stream)
        self._restored += 1
        if self._restored % _COLLECTED_EVERY == 0 or _open_files() != self._files:
            # What an error keeps is closed by this.
            gc.collect()
        gc.enable()
        return (
            threading.active_count() == 1
            and _open_files() == self._files
            and _signals() == self._signals
            and len(sys.modules) == self._modules
            and not _has_children()
        )


def _variables(module: ModuleType) -> list[tuple[str, Any]]:
    """The variables of a module: what has no name of a constant, and is no function, class or module."""
    return [
        (name, value)
        for name, value in vars(module).items()
        if not name.isupper()
        and (not name.startswith("__") or name == "__file__")
        and not isinstance(value, (type, FunctionType, ModuleType))
    ]


def _caches(module: ModuleType) -> list[Callable[[], None]]:
    found = [getattr(value, "cache_clear", None) for value in vars(module).values()]
    return [clear for clear in found if isinstance(clear, BuiltinMethodType)]


def _open_files() -> set[int]:
    names = os.listdir("/dev/fd")  # noqa: PTH208 - a path for each takes longer
    return {int(name) for name in names if _is_open(int(name))}


def _is_open(descriptor: int) -> bool:
    """Whether it is still open: that of the listing is not."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _signals() -> list[Any]:
    return [signal.getsignal(number) for number in _SIGNALS]


def _has_children() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True
