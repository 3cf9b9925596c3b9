"""Several processes that serve on one socket: forked from one that only watches them.

It has no thread and no connection, so that a fork is safe, and its memory, with all imports, is shared. A worker that
ends is replaced. Workers have process groups of their own, so that Ctrl-C at a terminal reaches only the parent, which
passes signals on; they stop by themselves where it is gone.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from bazar_cli.api.serving.process import handling

LONGEST_PAUSE_SECONDS = 10.0
"""Between two starts of a worker that ends again and again."""
_SOON_SECONDS = 5.0
_log = logging.getLogger(__name__)


class Workers:
    """The workers of one server.

    Parameters: `jobs` has what each worker does, with the pipe that closes when the parent ends; `ended` is called in
    the parent with the number of a worker that ended.
    """

    def __init__(self, jobs: Sequence[Callable[[int], None]], ended: Callable[[int], None]) -> None:
        self._ended = ended
        self._missing = list(jobs)
        self._begun: dict[int, tuple[Callable[[int], None], float]] = {}
        """The living workers: what each does, and since when."""
        self._pause = 0.0
        self._starts_at = 0.0
        self._stopped_by: list[int] = []
        self._reader, self._writer = os.pipe()
        self._woken, waker = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(waker, False)
        self._waker = waker

    def run(self) -> None:
        """Keep the workers running until a signal, and return when all have ended."""
        gc.collect()
        gc.freeze()  # so that a collection in a worker copies no shared page
        before = signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        woken = signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        try:
            with handling(self._stop):
                while self._begun or not self._stopped_by:
                    self._start_missing()
                    self._wait()
                    self._reap()
        finally:
            signal.set_wakeup_fd(woken)
            signal.signal(signal.SIGCHLD, before)
            for descriptor in (self._reader, self._writer, self._woken, self._waker):
                os.close(descriptor)

    def _stop(self, number: int) -> None:
        self._stopped_by.append(number)
        for pid in self._begun:
            with suppress(ProcessLookupError):  # one that has just ended
                os.kill(pid, number)

    def _start_missing(self) -> None:
        while self._missing and not self._stopped_by and time.monotonic() >= self._starts_at:
            job = self._missing.pop()
            # A signal between the fork and the note of the worker would not reach it.
            signal.pthread_sigmask(signal.SIG_BLOCK, _ALL)
            try:
                pid = os.fork()
                if pid == 0:
                    self._become_worker(job)
                self._begun[pid] = job, time.monotonic()
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _ALL)

    def _become_worker(self, job: Callable[[int], None]) -> None:
        code = 1
        try:
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number in _ENDING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, signal.SIG_DFL)
            for descriptor in (self._writer, self._woken, self._waker):
                os.close(descriptor)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ALL)
            job(self._reader)
            code = 0
        except BaseException:  # noqa: BLE001 - a worker must not run the code of its parent
            _log.exception("worker %d failed", os.getpid())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _wait(self) -> None:
        """Wait for a signal, or for the next start."""
        starts = self._missing and not self._stopped_by
        select.select([self._woken], [], [], max(0.0, self._starts_at - time.monotonic()) if starts else None)
        with suppress(BlockingIOError):
            os.read(self._woken, 4096)

    def _reap(self) -> None:
        for pid in tuple(self._begun):
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                continue
            job, since = self._begun.pop(pid)
            lived = time.monotonic() - since
            self._missing.append(job)
            self._ended(pid)
            if self._stopped_by:
                continue
            soon = lived < _SOON_SECONDS
            self._pause = min(LONGEST_PAUSE_SECONDS, max(0.5, self._pause * 2)) if soon else 0.0
            self._starts_at = time.monotonic() + self._pause
            _log.error("worker %d ended after %.0f s; another one starts", pid, lived)


_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_ALL = frozenset({*_ENDING, signal.SIGCHLD})
