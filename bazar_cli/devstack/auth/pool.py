"""A pool of connections for the service's worker threads. It survives a restart of Postgres."""

from __future__ import annotations

import queue
import select
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row

Rows = psycopg.Connection[DictRow]
_SIZE = 8
_IDLE_SECONDS = 1.0
"""A connection that was idle for longer is tested before it is used."""


class Pool:
    """At most `_SIZE` connections, which are opened on demand and reused."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._idle: queue.LifoQueue[tuple[float, Rows]] = queue.LifoQueue()
        self._slots = threading.BoundedSemaphore(_SIZE)

    @contextmanager
    def transaction(self) -> Generator[Rows]:
        """Yield a connection with an open transaction. Raises: psycopg.OperationalError without a database."""
        with self._slots:
            connection = self._take()
            try:
                with connection.transaction():
                    yield connection
            finally:
                if connection.closed or connection.broken:
                    connection.close()
                else:
                    self._idle.put((time.monotonic(), connection))

    def close(self) -> None:
        """Close the idle connections."""
        while not self._idle.empty():
            self._idle.get_nowait()[1].close()

    def _take(self) -> Rows:
        while True:
            try:
                used_at, connection = self._idle.get_nowait()
            except queue.Empty:
                return self.open()
            if time.monotonic() - used_at < _IDLE_SECONDS and not connection.closed and _is_quiet(connection):
                return connection
            try:
                connection.execute("SELECT 1")
            except psycopg.Error:
                connection.close()
            else:
                return connection

    def open(self) -> Rows:
        """Open one more connection, autocommitting outside of transactions."""
        return Rows.connect(
            self._url,
            row_factory=dict_row,
            autocommit=True,
            connect_timeout=5,
            prepare_threshold=None,
            application_name="bazar auth service",
        )


def _is_quiet(connection: Rows) -> bool:
    """Say whether there is nothing to read. The end of the server would be something to read."""
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    return not poller.poll(0)


def one(connection: Rows, query: str, *values: Any) -> dict[str, Any] | None:
    """Return the first row of a query or None."""
    return connection.execute(query.encode(), values).fetchone()
