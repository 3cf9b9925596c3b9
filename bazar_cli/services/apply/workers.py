"""Many changes of a kind at once: a few threads, each with a gate and connections of its own.

Whoever works looks before each change whether the command is to end: Ctrl-C, and an error that ends all, wait for the
changes in hand and let none begin. An answer that Supabase limits is waited out.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

from bazar_cli.adapters.polling import poll
from bazar_cli.domain.errors import BackendUnavailable

if TYPE_CHECKING:
    from bazar_cli.services.gate.gate import Gate

T = TypeVar("T")

WORKERS = 6
"""More would make Supabase no faster, and a pooler of a small project has 15 connections."""
_EACH = 4
"""For fewer changes than this a thread and its connections cost more than they save."""
_TELL_SECONDS = 2.0
_LOOK_SECONDS = 0.2
PATIENCE_SECONDS = 300.0
"""How long one change waits, in all, for a Supabase that limits how often it is asked."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


class WorkerPool:
    """Runs changes until all are done or the command is to end.

    Parameters: `ended` says whether a signal waits; `tell` hears of the progress, from the calling thread.
    """

    def __init__(self, gate: Gate, ended: Callable[[], bool], tell: Callable[[str], None]) -> None:
        self._gate = gate
        self._ended = ended
        self._tell = tell
        self._broken = False
        """An error ends all."""

    def each(self, items: Sequence[T], change: Callable[[Gate, T], None], doing: str) -> None:
        """Run `change` for every item, in no order. Parameters: `doing` names it for the progress.

        Returns early where a signal waits. Raises: what the first one raised that failed, once those in hand ended.
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
                working = [pool.submit(self._work, gate, change, left) for gate in gates]
                while wait(working, timeout=_TELL_SECONDS).not_done:
                    if not self.stops():
                        self._tell(f"{doing}: {len(items) - len(left)} of {len(items)}")
            except KeyboardInterrupt:
                # A second one: the process ends at once, and takes the connections of the changes in hand with it.
                self._broken = True
                stack.pop_all()
                pool.shutdown(wait=False)
                raise
            pool.shutdown()
            for one in working:
                one.result()

    def stops(self) -> bool:
        """Whether no further change is to begin."""
        return self._broken or self._ended()

    def patiently(self, change: Callable[[], T]) -> T:
        """Run one change, and again after a pause while Supabase limits how often it is asked.

        Raises: what `change` raises, also when it was limited for too long or the command is to end.
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
                if time.monotonic() + seconds > deadline or poll(self.stops, seconds=seconds, pause=_LOOK_SECONDS):
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
        except BaseException:  # whatever it is, nothing else begins
            self._broken = True
            raise


def _pauses() -> Iterator[float]:
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * 2, _LONGEST_PAUSE)
