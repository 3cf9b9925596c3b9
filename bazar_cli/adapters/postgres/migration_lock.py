"""The migration lock: a session-level advisory lock on the connection that migrates, one at a time.

Waiters poll outside of any transaction, as a blocking wait deadlocks with CREATE INDEX CONCURRENTLY of the holder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bazar_cli.adapters.polling import poll
from bazar_cli.adapters.postgres.rows import fetch_value
from bazar_cli.domain.errors import BackendUnavailable

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.connections import Connection

KEY = 0x62617A6172
"""`bazar` in ASCII; advisory locks are per database."""
_POLL_SECONDS = (0.1, 0.4)
_HOLDER = """
    SELECT a.pid, a.application_name, a.usename, extract(epoch FROM clock_timestamp() - a.backend_start)::int AS age
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.database =
        (SELECT oid FROM pg_database WHERE datname = current_database())
      AND ((l.classid::bigint << 32) | l.objid::bigint) = %(key)s AND l.pid <> pg_backend_pid()
"""
_KEPT = """
    SELECT pg_backend_pid() AS pid, EXISTS (
        SELECT 1 FROM pg_locks l
        WHERE l.locktype = 'advisory' AND l.granted AND l.pid = pg_backend_pid() AND l.database =
            (SELECT oid FROM pg_database WHERE datname = current_database())
          AND ((l.classid::bigint << 32) | l.objid::bigint) = %(key)s) AS kept,
        CASE WHEN pg_backend_pid() = %(pid)s THEN set_config('lock_timeout', %(lock_timeout)s, false) END
"""


class LockWait:
    """The lock, once held: the wait for it in milliseconds, its last holder, and a check that it is still held."""

    milliseconds = 0
    holder: str | None = None

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.pid = 0
        """The server process that holds the lock."""

    def roll_back(self) -> None:
        """Roll back the transaction that `check` opened, where nothing else has ended it."""
        if not self._connection.closed:
            self._connection.rollback()

    def check(self, lock_timeout: float) -> None:
        """Make sure that the server process which took the lock serves this connection and still holds it.

        A pooler that hands out another process at each transaction would let two migrators work at once. From here on
        it waits `lock_timeout` seconds at most for each other lock. Another process keeps its own limit.
        Opens the transaction in which what is checked may follow. Raises: BackendUnavailable `db.lock_lost`.
        """
        values = {"key": KEY, "pid": self.pid, "lock_timeout": f"{lock_timeout}s"}
        [(pid, kept, _)] = self._connection.execute(_KEPT, values).fetchall()
        if pid != self.pid or not kept:
            raise BackendUnavailable(
                "db.lock_lost",
                f"the migration lock is lost: server process {self.pid} took it, and now {pid} answers"
                if pid != self.pid
                else f"the migration lock is lost: server process {self.pid} does not hold it any more",
                hint="run it again; migrate over a direct connection or a session pooler (DATABASE_MIGRATION_URL)",
                details={"pid": self.pid, "answering_pid": pid},
            )


@contextmanager
def migration_lock(
    connection: Connection, wait_seconds: float, on_wait: Callable[[str], None] | None = None
) -> Generator[LockWait]:
    """Hold the migration lock of the connection's database for the block.

    Parameters: `on_wait` gets a description of the holder once. Raises: BackendUnavailable `db.lock_timeout`
    after `wait_seconds`, naming the holder.
    """
    wait = LockWait(connection)

    def is_taken() -> bool:
        if _try(connection):
            return True
        holder = _holder(connection)
        if wait.holder is None and on_wait is not None:
            on_wait(holder)
        wait.holder = holder
        return False

    started = time.monotonic()
    if not poll(is_taken, seconds=wait_seconds, pause=_POLL_SECONDS):
        raise BackendUnavailable(
            "db.lock_timeout",
            f"another migration holds the lock for more than {wait_seconds:g} s: {wait.holder}",
            hint="wait for it and try again, or give more time with --lock-wait",
            details={"holder": wait.holder},
        )
    if wait.holder is not None:
        wait.milliseconds = round((time.monotonic() - started) * 1000)
    wait.pid = fetch_value(connection, "SELECT pg_backend_pid()")
    connection.commit()
    try:
        yield wait
    finally:
        if not connection.closed:
            wait.roll_back()
            connection.execute("SELECT pg_advisory_unlock(%s)", (KEY,))
            connection.commit()


def _try(connection: Connection) -> bool:
    taken = fetch_value(connection, "SELECT pg_try_advisory_lock(%s)", (KEY,))
    connection.commit()
    return taken


def _holder(connection: Connection) -> str:
    row = connection.execute(_HOLDER, {"key": KEY}).fetchone()
    connection.commit()
    if row is None:
        return "a connection that has just released it"
    pid, application, user, age = row
    return f"pid {pid} ({application or 'no name'}, user {user}, connected for {age} s)"
