"""Many changes of one kind in parallel: a few threads, each with its own gate and connections.

Each thread checks before a change whether the command is to end. After Ctrl-C, and after an error that ends the run,
changes that have begun are finished and no other begins. A rate limit of Supabase is waited out.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from contextvars import copy_context
from typing import TYPE_CHECKING, TypeVar

from bazar_cli.adapters.polling import poll
from bazar_cli.domain.errors import BackendUnavailable
from bazar_cli.domain.progress import Progress

if TYPE_CHECKING:
    from bazar_cli.services.gate.gate import Gate

T = TypeVar("T")

WORKERS = 6
"""More threads would not be faster at Supabase, and the pooler of a small project has 15 connections."""
_EACH = 4
"""The fewest changes for each thread: below, its connections cost more than it saves."""
_PROGRESS_SECONDS = 0.5
_PAUSE_SECONDS = 0.2
PATIENCE_SECONDS = 300.0
"""The longest time that one change waits for rate limits of Supabase."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


class WorkerPool:
    """Runs changes until all are done or the command is to end.

    Parameters: `ended` says whether a signal was received; `progress` is called in the calling thread.
    """

    def __init__(self, gate: Gate, ended: Callable[[], bool], progress: Progress) -> None:
        self._gate = gate
        self._ended = ended
        self._progress = progress
        self._broken = False
        """An error ends the run."""

    def each(self, items: Sequence[T], change: Callable[[Gate, T], None], doing: str) -> None:
        """Run `change` for every item, in any order. Parameters: `doing` names the change in the progress.

        Returns early after a signal. Raises: the error of the first change that failed, after the others ended.
        """
        left = deque(items)
        workers = max(1, min(WORKERS, len(items) // _EACH))
        if workers == 1:
            self._work(self._gate, change, left)
            return
        with ExitStack() as stack:
            gates = [stack.enter_context(self._gate.with_own_connections()) for _ in range(workers)]
            pool = ThreadPoolExecutor(workers, thread_name_prefix="bazar-worker")
            try:
                # With a copy of the context, the calls of each thread count as calls of this command.
                working = [pool.submit(copy_context().run, self._work, gate, change, left) for gate in gates]
                while wait(working, timeout=_PROGRESS_SECONDS).not_done:
                    if not self.stops():
                        self._progress(doing, len(items) - len(left), len(items))
            except KeyboardInterrupt:
                # The second Ctrl-C: the process ends at once, without closing the connections of the threads.
                self._broken = True
                stack.pop_all()
                pool.shutdown(wait=False)
                raise
            pool.shutdown()
            for one in working:
                one.result()

    def stops(self) -> bool:
        """Whether no further change may begin."""
        return self._broken or self._ended()

    def patiently(self, change: Callable[[], T]) -> T:
        """Run one change, and repeat it after a pause while Supabase limits requests.

        Raises: what `change` raises, also after too long a wait, and when the command is to end.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        for pause in _pauses():
            try:
                return change()
            except BackendUnavailable as error:
                if error.limit is None:
                    raise
                named = error.limit.retry_after
                seconds = pause if named is None else named
                if time.monotonic() + seconds > deadline or poll(self.stops, seconds=seconds, pause=_PAUSE_SECONDS):
                    raise
        raise AssertionError("pauses have no end")

    def _work(self, gate: Gate, change: Callable[[Gate, T], None], left: deque[T]) -> None:
        try:
            while not self.stops():
                try:
                    item = left.popleft()
                except IndexError:
                    return
                change(gate, item)
        except BaseException:  # also Ctrl-C: no other change may begin
            self._broken = True
            raise


def _pauses() -> Iterator[float]:
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * 2, _LONGEST_PAUSE)
