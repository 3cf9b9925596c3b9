"""The connections of a server process to Postgres: kept, checked before each use, and lent to one transaction each."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from bazar_cli.adapters.postgres.connections import Connection, TimedConnection, drop_settings_of_libpq
from bazar_cli.adapters.postgres.database import OPTIONS, ended_while_idle
from bazar_cli.domain.errors import BackendUnavailable

if TYPE_CHECKING:
    from typing_extensions import Self

    from bazar_cli.domain.secrets import Secret

WAIT_SECONDS = 2.0
"""How long a transaction waits for a free connection, and for the server after it went away."""
_KEPT = 1
"""Connections that are kept however long the process is idle."""


class Pool:
    """At most `size` connections of one process, opened on use. Safe to use by several threads.

    It is made after a fork: connections and threads do not survive one.
    """

    def __init__(self, url: Secret, size: int) -> None:
        drop_settings_of_libpq()
        self.size = size
        self._failed: psycopg.Error | None = None
        self._pool: ConnectionPool[TimedConnection] = ConnectionPool(
            url.reveal(),
            connection_class=self._noting(),
            kwargs=OPTIONS,
            min_size=_KEPT,
            max_size=size,
            open=True,
            timeout=WAIT_SECONDS,
            # Then the next request tries to connect: with the default, the pauses between attempts grow to minutes.
            reconnect_timeout=WAIT_SECONDS,
            name="bazar",
        )

    @property
    def in_use(self) -> int:
        """How many connections are lent or being opened."""
        found = self._pool.get_stats()
        return found.get("pool_size", 0) - found.get("pool_available", 0)

    @contextmanager
    def lent(self) -> Generator[Connection]:
        """Lend a connection for the block.

        Raises: psycopg.Error of the last attempt, where the server cannot be reached; BackendUnavailable `server.busy`
        where all connections remain in use.
        """
        connection = self._free()
        try:
            yield connection
        finally:
            self._pool.putconn(connection)

    def close(self) -> None:
        """Do nothing: the connections outlast the request. `end` closes them."""

    def end(self) -> None:
        """Close all connections."""
        self._pool.close()

    def _free(self) -> TimedConnection:
        ends = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                connection = self._pool.getconn(max(0.001, ends - time.monotonic()))
            except PoolTimeout as timeout:
                raise self._failed or _all_in_use(self.size) from timeout
            if not ended_while_idle(connection):
                return connection
            # The pool replaces it. Its own check would pause after the second one that a restart of the server ended.
            connection.close()
            self._pool.putconn(connection)

    def _noting(self) -> type[TimedConnection]:
        """Return a class whose failures to connect are known here: the pool only logs them."""
        pool = self

        class Noting(TimedConnection):
            @classmethod
            def connect(cls, conninfo: str = "", **options: Any) -> Self:
                try:
                    opened = super().connect(conninfo, **options)
                except psycopg.Error as error:
                    pool._failed = error
                    raise
                pool._failed = None
                return opened

        return Noting


def _all_in_use(size: int) -> BackendUnavailable:
    return BackendUnavailable(
        "server.busy",
        f"all {size} connections of this server process to Postgres are in use",
        hint="try again; if it lasts, start it with more `--connections`",
        details={"connections": size},
    )
