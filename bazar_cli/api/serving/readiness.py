"""Whether a server process can serve: what `/readyz` says, and to balancers that a stop has begun."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import anyio
from anyio import to_thread

from bazar_cli.domain.errors import BazarError

STOPPING = "server.stopping"
_KEPT_SECONDS = 1.0
"""Probes of many balancers cost one look at Postgres in this time."""
_log = logging.getLogger(__name__)


class Readiness:
    """Looks at Postgres when it is asked. Parameters: `check` raises BazarError where the process cannot serve."""

    def __init__(self, check: Callable[[], None]) -> None:
        self.is_stopping = False
        self._check = check
        self._limiter = anyio.CapacityLimiter(1)
        self._found: str | None = None
        self._until = -float("inf")
        self._said: str | None = ""

    def stop(self) -> None:
        """Be not ready from now on."""
        self.is_stopping = True

    async def problem(self) -> str | None:
        """Return the code of the error that keeps the process from serving; None if it is ready."""
        if self.is_stopping:
            return STOPPING
        async with self._limiter:
            if time.monotonic() >= self._until:
                self._found = await to_thread.run_sync(self._look, limiter=anyio.CapacityLimiter(1))
                self._until = time.monotonic() + _KEPT_SECONDS
        return STOPPING if self.is_stopping else self._found

    def _look(self) -> str | None:
        try:
            self._check()
        except BazarError as error:
            if error.code != self._said:
                _log.warning("not ready: %s (%s); %s", error.message, error.code, error.hint)
            self._said = error.code
            return error.code
        if self._said is not None:
            _log.info("ready")
        self._said = None
        return None
