"""How many requests run side by side, and how often one begins: as many as the Auth server answers well.

After a round of good answers one more runs; after a failure half as many do. A limit (429) makes all wait, for the time
that Supabase names or for a short one. Then they begin at longer intervals, which shrink with each good answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

_AT_FIRST = 4
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 30.0
"""Seconds after a 429 that names none; each further one in a row doubles them."""
_FIRST_INTERVAL, _LONGER, _SHORTER = 0.02, 1.5, 0.995
"""Seconds between two requests after a first 429, their factor at each further one, and at each good answer."""
_SHORTEST_INTERVAL = 0.002
"""Below, requests begin without an interval."""
_LOOK_SECONDS = 0.2


class Pace:
    """The requests of one importer.

    Parameters: `most` is how many may run at once; `ended` says whether none begins any more.
    """

    def __init__(self, most: int, ended: Callable[[], bool]) -> None:
        self.most = most
        self._ended = ended
        self._allowed = float(min(_AT_FIRST, most))
        self._running = 0
        self._waiting = deque[asyncio.Future[None]]()
        self._resumes_at = 0.0
        self._halved_at = 0.0
        self._pause = _FIRST_PAUSE
        self._limited_since: float | None = None
        self._interval = 0.0
        self._next_at = 0.0

    @property
    def limited_for(self) -> float:
        """For how many seconds Supabase has limited requests, without a good answer since."""
        return 0.0 if self._limited_since is None else time.monotonic() - self._limited_since

    async def begin(self) -> bool:
        """Wait until a request may begin; False if none begins any more. `end` follows each that began."""
        while not self._ended():
            if self._resumes_at > time.monotonic():
                await self.sleep(self._resumes_at - time.monotonic())
            elif self._running < int(self._allowed):
                self._running += 1
                if self._interval:
                    await self._wait_for_turn()
                if not self._ended():
                    return True
                self.end()
            else:
                waiting = asyncio.get_running_loop().create_future()
                self._waiting.append(waiting)
                await waiting
        self._wake()
        return False

    def end(self) -> None:
        """Let another request begin."""
        self._running -= 1
        self._wake()

    def went_well(self) -> None:
        """Note a request that Supabase answered, whatever it said."""
        self._allowed = min(self.most, self._allowed + 1 / self._allowed)
        self._pause = _FIRST_PAUSE
        self._limited_since = None
        self._interval *= _SHORTER
        if self._interval < _SHORTEST_INTERVAL:
            self._interval = 0.0

    def failed(self, began: float, *, limited: bool = False, retry_after: float | None = None) -> None:
        """Note a request that began at this monotonic time and got no answer, or 429 or 5xx.

        Those that ran at the same time count as one failure. Parameters: `limited` says that Supabase answered 429,
        `retry_after` in how many seconds it takes requests again.
        """
        now = time.monotonic()
        if limited and self._limited_since is None:
            self._limited_since = now
        if began >= self._halved_at:
            self._halved_at = now
            if limited:
                self._interval = max(_FIRST_INTERVAL, self._interval * _LONGER)
            else:
                self._allowed = max(1.0, self._allowed / 2)
            if limited and retry_after is None:
                retry_after = self._pause
                self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        if limited and retry_after is not None:
            self._resumes_at = max(self._resumes_at, now + retry_after)

    async def _wait_for_turn(self) -> None:
        start = 0.0
        while not self._ended() and start <= self._resumes_at:  # a pause begins while others wait too
            start = max(time.monotonic(), self._next_at, self._resumes_at + self._interval)
            self._next_at = start + self._interval
            await self.sleep(start - time.monotonic())

    async def sleep(self, seconds: float) -> None:
        """Wait, but no longer than until the command is to end."""
        until = time.monotonic() + seconds
        while not self._ended() and (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, _LOOK_SECONDS))

    def _wake(self) -> None:
        free = self.most if self._ended() else max(1, int(self._allowed)) - self._running
        while free > 0 and self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                free -= 1
