"""Whether a database answers, without reading anything of bazar's."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from bazar_cli.adapters.config.checks import is_this_machine
from bazar_cli.adapters.postgres.connections import begin, connect, database_of, has_database, maintenance
from bazar_cli.adapters.postgres.errors import translate
from bazar_cli.adapters.postgres.settings import read_only
from bazar_cli.domain.db.migrations import Place, ReadOnly

if TYPE_CHECKING:
    from bazar_cli.domain.secrets import Secret
    from bazar_cli.domain.target import Target

_SECONDS = 5


def probe(target: Target) -> Place:
    """Connect once and return where that was.

    Raises: BackendUnavailable `postgres.unavailable`; UsageError `postgres.refused`, `postgres.url`; Conflict
    `postgres.not_admitted`, `postgres.tls`, `db.no_database`.
    """
    try:
        with connect(target.database_url, connect_timeout=_SECONDS) as connection:
            info = connection.info
            return Place(info.host, info.dbname, None, info.parameter_status("server_version") or "")
    except psycopg.Error as error:
        raise translate(error, target) from error


@dataclass(frozen=True)
class DatabaseProbe:
    """The result of one look at Postgres."""

    place: Place
    plaintext: bool
    """The connection is not encrypted, and leaves this machine."""
    clock_skew_seconds: float
    """How far this machine's clock is ahead of the database's."""
    read_only: ReadOnly | None = None
    """Why the database takes no writes; None where it does."""


def look_at(target: Target) -> DatabaseProbe:
    """Connect once; return where that was, how, and what time it is there. Reads no data.

    Raises: as `probe`.
    """
    try:
        with connect(target.database_url, connect_timeout=_SECONDS, autocommit=True) as connection:
            info = connection.info
            connection.execute(begin(read_only=True))
            asked = time.time()
            row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
            answered = time.time()
            assert row is not None
            return DatabaseProbe(
                Place(info.host, info.dbname, None, info.parameter_status("server_version") or ""),
                # libpq knows whether this connection uses TLS; behind a pooler pg_stat_ssl describes the pooler's.
                plaintext=not connection.pgconn.ssl_in_use and not is_this_machine(info.hostaddr or info.host),
                # The server's time lies between the two.
                clock_skew_seconds=(asked + answered) / 2 - float(row[0]),
                read_only=read_only(connection),
            )
    except psycopg.Error as error:
        raise translate(error, target) from error


def is_absent(database_url: Secret) -> bool:
    """Say whether the server proves that it has no such database.

    libpq hands out no SQLSTATE for a refused connection; the catalog of the maintenance database knows.
    """
    try:
        with maintenance(database_url) as connection:
            return not has_database(connection, database_of(database_url))
    except psycopg.OperationalError:
        return False
