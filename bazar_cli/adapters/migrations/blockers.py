"""The sessions that block a migration. A session that waits cannot ask, so another connection asks meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg

from bazar_cli.adapters.postgres import locks
from bazar_cli.adapters.postgres.connections import begin, connect

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.connections import Connection
    from bazar_cli.domain.db.locks import LockSession
    from bazar_cli.domain.secrets import Secret

_PAUSE_SECONDS = (0.01, 0.25)
_CONNECT_SECONDS = 5
_END_SECONDS = 1.0
_NAMES_SHOWN = 3


@dataclass
class _Attempt:
    """The blockers that were seen last in one attempt, and what to call with the first ones."""

    on_found: Callable[[str], None] | None = None
    began: float = field(default_factory=time.monotonic)
    blockers: tuple[LockSession, ...] = ()


class Blockers:
    """Looks for the blockers of the server process `pid`, from the start to the end of a block.

    Parameters: it opens its connection when an attempt has taken a quarter of `lock_timeout` seconds (0.25 s at most).
    An error ends the look, because the migration itself reports what matters.
    """

    def __init__(self, url: Secret, pid: int, lock_timeout: float) -> None:
        shortest, longest = _PAUSE_SECONDS
        self._url = url
        self._pid = pid
        self._pause = max(shortest, min(lock_timeout / 4, longest))
        self._attempt = _Attempt()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=copy_context().run, args=(self._watch,), name="blockers", daemon=True)

    def __enter__(self) -> Blockers:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        # A pooler may let the connection wait much longer.
        self._thread.join(_END_SECONDS)

    @property
    def found(self) -> tuple[LockSession, ...]:
        """The blockers that were seen last in this attempt."""
        return self._attempt.blockers

    def begin(self, on_found: Callable[[str], None] | None = None) -> None:
        """Begin another attempt. Parameters: `on_found` gets the names of its first blockers, in a thread."""
        self._attempt = _Attempt(on_found)

    def _watch(self) -> None:
        connection: Connection | None = None
        with suppress(psycopg.Error), ExitStack() as opened:
            while not self._ended.wait(self._pause):
                attempt = self._attempt
                if time.monotonic() - attempt.began < self._pause:
                    continue
                if connection is None:
                    options = {"connect_timeout": _CONNECT_SECONDS, "prepare_threshold": None, "autocommit": True}
                    connection = opened.enter_context(
                        connect(self._url, application_name="bazar db blockers", **options)
                    )
                self._look(connection, attempt)

    def _look(self, connection: Connection, attempt: _Attempt) -> None:
        # In a transaction, because only there the settings are bazar's and not those of the database.
        connection.execute(begin(read_only=True))
        seen = {session.pid: session for session in locks.sessions(connection)}
        connection.rollback()
        waiting = seen.get(self._pid)
        blockers = () if waiting is None else tuple(seen[pid] for pid in waiting.blocked_by if pid in seen)
        if not blockers:
            return
        first, attempt.blockers = not attempt.blockers, blockers
        if first and attempt.on_found is not None:
            attempt.on_found(named(blockers))


def named(sessions: tuple[LockSession, ...]) -> str:
    """Return the sessions in a few words."""
    shown = ", ".join(session.text for session in sessions[:_NAMES_SHOWN])
    more = len(sessions) - _NAMES_SHOWN
    return (f"{shown} and {more} more" if more > 0 else shown) or "another session"
