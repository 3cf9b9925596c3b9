"""Requests to Supabase Auth for the rows of one chunk, side by side; an unknown outcome is tried again.

A request begins only while the leases of the chunk outlast it. They are renewed together (`users.two_systems`, fence).
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from bazar_cli.domain.errors import BackendUnavailable, BazarError, KeyRefused
from bazar_cli.domain.texts import counted
from bazar_cli.domain.users.identities import Failure, IdentityRefused, OutcomeUnknown
from bazar_cli.services.apply.workers import PATIENCE_SECONDS
from bazar_cli.services.imports.pace import Pace
from bazar_cli.services.users import leases

_ATTEMPTS = 6
"""How often a row is tried whose outcome is unknown. A request that Supabase limits does not count."""
_FIRST_PAUSE = 0.2
"""Seconds before the second attempt; each further pause is twice as long."""
_RENEW_SECONDS = 5.0
_GIVE_UP = 10
"""Rows in a row without any outcome: then Supabase is away."""


class _Row(Protocol):
    @property
    def line(self) -> int: ...


R = TypeVar("R", bound=_Row)


@dataclass
class Attempt(Generic[R]):
    """What is known about the identity of a row."""

    row: R
    looks: bool
    """An earlier request may have been done."""
    refusal: IdentityRefused | None = None
    unknown: list[OutcomeUnknown | BackendUnavailable] = field(
        default_factory=list["OutcomeUnknown | BackendUnavailable"]
    )
    """Why the outcomes of this importer's requests are unknown."""

    @property
    def failed_inside(self) -> bool:
        """Whether Supabase answered each request with 500, so that none is on its way any more."""
        return bool(self.unknown) and all(isinstance(u, OutcomeUnknown) and u.failed_inside for u in self.unknown)


class Calls(ABC, Generic[R]):
    """The requests of one chunk.

    Parameters: `since` is when its leases were taken; None for requests that only read.
    """

    def __init__(self, rows: Sequence[R], pace: Pace, is_ended: Callable[[], bool], since: leases.Since | None) -> None:
        self.rows = rows
        self._pace = pace
        self._is_ended = is_ended
        self._since = since
        self._left = deque(rows)
        self._held = {row.line for row in rows}
        self._renewing = asyncio.Lock()
        self._postgres = threading.Lock()
        """The connection serves one thread at a time, also after an interrupt."""
        self._begun = set[int]()
        """Lines of rows for which a request was made."""
        self._silent = 0
        """Rows without an outcome since Supabase last answered."""
        self.given_up = set[int]()
        """Lines whose outcome remained unknown."""
        self.silence: OutcomeUnknown | BackendUnavailable | None = None
        """Why an outcome remained unknown."""
        self.failure: BazarError | None = None
        """The error that ends the run."""

    async def run(self) -> None:
        """Make the requests of all rows, as long as the command is not to end and Supabase answers."""
        working = [asyncio.create_task(self._work()) for _ in range(min(self._pace.most, len(self._left)))]
        renewing = () if self._since is None else (asyncio.create_task(self._keep_leases()),)
        try:
            await asyncio.gather(*working)
        finally:
            for task in (*working, *renewing):
                task.cancel()
            await asyncio.gather(*working, *renewing, return_exceptions=True)

    @abstractmethod
    async def ask(self, attempt: Attempt[R]) -> None:
        """Make the request of a row, and note its outcome.

        Raises: OutcomeUnknown; BackendUnavailable `supabase.unavailable`; KeyRefused; what ends the run.
        """

    async def last_look(self, _attempt: Attempt[R], /) -> bool:
        """Find the outcome after the last attempt; return whether it is known now."""
        return False

    def key_refused(self, _attempt: Attempt[R], /) -> None:
        """Note that the service key was refused for a row."""
        return

    def renewed(self) -> set[int]:
        """Renew the leases; return the lines of the rows that this importer still holds."""
        return self._held

    def stops(self) -> bool:
        """Whether no other request may begin."""
        return self.failure is not None or self._is_ended()

    async def may_call(self, row: R) -> bool:
        """Make sure before a request that the lease outlasts it; False if another command has the row."""
        if self._since is not None and not self._since.allows_a_call():
            await self._renew()
        return row.line in self._held

    async def _work(self) -> None:
        while self._left and not self.stops():
            row = self._left.popleft()
            try:
                await self._bring_about(Attempt(row, looks=bool(getattr(row, "resumed", False))))
            except BazarError as error:
                self.failure = self.failure or error
                return

    async def _bring_about(self, attempt: Attempt[R]) -> None:
        number = 0
        while number < self.attempts:
            if number:
                await self._pace.sleep(_FIRST_PAUSE * 2 ** (number - 1) * random.uniform(0.5, 1))  # noqa: S311 - jitter
            if self.stops() or not await self._pace.begin():
                return
            began = time.monotonic()
            try:
                if self.stops() or not await self.may_call(attempt.row):
                    return
                self._begun.add(attempt.row.line)
                await self.ask(attempt)
                self._pace.went_well()
                self._silent = 0
            except OutcomeUnknown as unknown:
                attempt.looks = True
                number += self._unknown(attempt, unknown, began)
            except BackendUnavailable as silent:
                if silent.code != "supabase.unavailable":
                    raise
                number += self._unknown(attempt, silent, began)
            except KeyRefused:
                self.key_refused(attempt)
                raise
            else:
                return
            finally:
                self._pace.end()
        if self.stops() or await self.last_look(attempt) or self.stops():
            return
        self.given_up.add(attempt.row.line)
        self._silent += 1
        if self._silent >= _GIVE_UP and self.failure is None:
            self.failure = unfinished(self._silent, self.silence)

    @property
    def attempts(self) -> int:
        """How often a row is tried."""
        return _ATTEMPTS

    def _unknown(self, attempt: Attempt[R], error: OutcomeUnknown | BackendUnavailable, began: float) -> int:
        """Note an unknown outcome; return how many attempts it counts for."""
        self.silence = error
        limit = error.limit
        if limit is not None and (limit.retry_after or 0) > PATIENCE_SECONDS:
            self.failure = self.failure or unfinished(1, error)
            return 0
        self._pace.failed(began, limited=limit is not None, retry_after=None if limit is None else limit.retry_after)
        if limit is not None:
            if self._pace.limited_for > PATIENCE_SECONDS:
                self.failure = self.failure or unfinished(1, error)
            return 0
        attempt.unknown.append(error)
        return 1

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            try:
                await self._renew()
            except BazarError as error:
                self.failure = self.failure or error
                return

    async def _renew(self) -> None:
        async with self._renewing:
            if self._since is None or (self._since.allows_a_call() and self._since.seconds < _RENEW_SECONDS / 2):
                return
            since = leases.Since()
            self._held = await asyncio.to_thread(self._renewed)
            self._since = since

    def _renewed(self) -> set[int]:
        with self._postgres:
            return self.renewed()


def unfinished(rows: int, why: Failure | None) -> BackendUnavailable:
    """Return the error for rows whose outcome at Supabase is unknown."""
    return BackendUnavailable(
        "imports.unfinished",
        f"the outcome of {counted(rows, 'row')} at Supabase Auth is unknown: {why}",
        hint="run the same command again: it continues where this one stopped",
        details={"rows": rows},
        limit=None if why is None else why.limit,
    )
