"""Threads for use cases: each kind has places for itself, so that stuck writes never stop reads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from enum import Enum
from typing import TypeVar

import anyio
from anyio import to_thread

from bazar_cli.domain.errors import BackendUnavailable

T = TypeVar("T")

WAIT_SECONDS = 2.0
"""How long a request waits for a place."""


class Kind(str, Enum):
    """The kinds of use cases that have places of their own."""

    READS = "reads"
    WRITES = "writes"
    STREAMS = "streams"


class Threads:
    """The places of one process."""

    def __init__(self, places: dict[Kind, int]) -> None:
        self._limiters = {kind: anyio.CapacityLimiter(number) for kind, number in places.items()}
        self._unlimited = anyio.CapacityLimiter(sum(places.values()))

    @asynccontextmanager
    async def place(self, kind: Kind) -> AsyncGenerator[None]:
        """Hold a place for the block. Raises: BackendUnavailable `server.busy`."""
        limiter, holder = self._limiters[kind], object()
        with anyio.move_on_after(WAIT_SECONDS) as waiting:
            await limiter.acquire_on_behalf_of(holder)
        if waiting.cancelled_caught:
            raise BackendUnavailable(
                "server.busy",
                f"all {limiter.total_tokens:g} places for {kind.value} of this server process are taken",
                hint="try again in some seconds",
                details={"kind": kind.value},
            )
        try:
            yield
        finally:
            limiter.release_on_behalf_of(holder)

    async def run(self, act: Callable[[], T]) -> T:
        """Run a function in a thread; the caller holds a place. It runs to its end, also where the client is gone."""
        # `abandon_on_cancel` is off: a cancelled request waits here.
        return await to_thread.run_sync(act, limiter=self._unlimited)
