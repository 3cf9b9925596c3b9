"""The one way to open a connection to a target's database: by its URL, without the shell's settings for libpq."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from bazar_cli.adapters.postgres.statements import summary
from bazar_cli.domain import waits
from bazar_cli.domain.calls import Call, System, timed
from bazar_cli.domain.secrets import Secret

if TYPE_CHECKING:
    from psycopg import Copy
    from typing_extensions import LiteralString, Self

Connection: TypeAlias = psycopg.Connection[TupleRow]
"""A connection as repositories and services know it; `rows` says how they read rows."""
PINNED: Mapping[str, str] = MappingProxyType(
    {
        # The text form of values, which the driver reads and SQL here casts to text.
        "datestyle": "ISO",
        "intervalstyle": "postgres",
        "timezone": "UTC",
        "bytea_output": "hex",
        "extra_float_digits": "1",
        "quote_all_identifiers": "off",
        # What SQL means.
        "standard_conforming_strings": "on",
        "array_nulls": "on",
        "transform_null_equals": "off",
        # Row security filters, which `gate` looks for; and an error ends a statement, not the session.
        "row_security": "on",
        "exit_on_error": "off",
    }
)
"""Settings of every transaction. They override those of the server, the database and the role.

Only those that change what bazar reads or what its SQL means, and that every role may set. What limits or forbids
(`default_transaction_read_only`, `statement_timeout`) is an administrator's decision and is kept.
"""

MAINTENANCE = ("postgres", "template1")
"""The databases that every server has, as the programs of Postgres try them."""
_SECONDS = 5


def begin(*, read_only: bool, snapshot: bool = False, lock_seconds: float | None = None) -> LiteralString:
    """Return what opens a transaction, for a connection in autocommit mode: in one round trip, with its settings.

    A setting of the session would remain in the server's process behind a transaction pooler, and one among the options
    of the connection a pooler may refuse. A transaction that writes is not called READ WRITE: that would override
    `default_transaction_read_only`.

    Parameters: `snapshot` gives all statements the same one, taken once bazar's tables, which must exist, are not
    locked: `bazar db reset` may create them again, and an earlier snapshot would show the new ones empty.
    `lock_seconds` limits each wait for a row or table that another session has locked, by default as for a command.
    """
    return _opening(read_only, snapshot, waits.OF_A_COMMAND.row if lock_seconds is None else lock_seconds)


@lru_cache(maxsize=16)
def _opening(read_only: bool, snapshot: bool, longest: float) -> LiteralString:
    level = f"ISOLATION LEVEL {'REPEATABLE READ' if snapshot else 'READ COMMITTED'}"
    opening = f"BEGIN {level}{' READ ONLY' if read_only else ''}"
    settings = {"lock_timeout": f"{longest:g}s", **PINNED}
    # SET, unlike set_config(), takes no snapshot.
    local = (f"SET LOCAL {name} = '{value}'" for name, value in settings.items())
    lock = ["LOCK TABLE bazar.users IN ACCESS SHARE MODE"] if snapshot else []
    return cast("LiteralString", "; ".join((opening, *local, *lock)))


def connect(url: Secret, **options: Any) -> Connection:
    """Connect as the URL says. Raises: psycopg.Error."""
    drop_settings_of_libpq()
    with timed(System.POSTGRES, "connect", _whereabouts(conninfo_to_dict(url.reveal()))):
        return TimedConnection.connect(url.reveal(), **options)


def drop_settings_of_libpq() -> None:
    """Remove the variables of libpq from the environment of this process.

    libpq takes what a URL leaves open from PGHOST, PGHOSTADDR, PGSSLMODE, PGSERVICE, PGOPTIONS and others. A target
    comes whole from one source, and was checked for plain text without them, so they count for nothing. libpq has
    no option against them: they leave this process, whose children are programs of Postgres that get a URL too.
    """
    for name in [name for name in os.environ if name.startswith("PG")]:
        os.environ.pop(name, None)


def _whereabouts(parts: Mapping[str, Any]) -> dict[str, str | int]:
    """Return the attributes of OpenTelemetry's database conventions that a connection's calls share."""
    named = {"server.address": parts.get("host"), "db.namespace": parts.get("dbname") or parts.get("user")}
    port = str(parts.get("port") or "")
    known: dict[str, str | int] = {name: str(value) for name, value in named.items() if value}
    return {"db.system.name": "postgresql", **known, **({"server.port": int(port)} if port.isdecimal() else {})}


def _timed(connection: psycopg.Connection[Any], query: object) -> AbstractContextManager[Call]:
    """Time one call. A trace gets the kind of the statement and its table, never its text or its parameters."""
    operation, table = summary(query)
    shared = cast("TimedConnection", connection).whereabouts
    of_table = {"db.collection.name": table} if table else {}
    name = f"{operation} {table}".rstrip()
    return timed(System.POSTGRES, name, {**shared, "db.operation.name": operation, **of_table})


class TimedConnection(psycopg.Connection[TupleRow]):
    """A connection whose statements, commits and rollbacks are timed, where the server gets one."""

    whereabouts: Mapping[str, str | int] = MappingProxyType({})

    @classmethod
    def connect(cls, conninfo: str = "", **options: Any) -> Self:
        """Connect, without a look at the environment. Raises: psycopg.Error."""
        # The client_encoding set on a database may lack characters that it stores; by SQL_ASCII text comes as bytes.
        given: dict[str, Any] = {"client_encoding": "utf8", "cursor_factory": _TimedCursor, **options}
        opened = super().connect(conninfo, **given)
        opened.server_cursor_factory = _TimedServerCursor
        info = opened.info
        opened.whereabouts = _whereabouts({"host": info.host, "port": info.port, "dbname": info.dbname})
        return opened

    def commit(self) -> None:
        with self._ending("COMMIT"):
            super().commit()

    def rollback(self) -> None:
        with self._ending("ROLLBACK"):
            super().rollback()

    def _ending(self, statement: str) -> AbstractContextManager[object]:
        idle = self.closed or self.info.transaction_status == TransactionStatus.IDLE
        return nullcontext() if idle else _timed(self, statement)


class _TimedCursor(psycopg.Cursor[Any]):
    """A cursor whose statements are timed, until their rows are here."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        with _timed(self.connection, query):
            return super().execute(query, params, **options)

    def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:
        with _timed(self.connection, query):
            super().executemany(query, params_seq, **options)

    @contextmanager
    def copy(self, statement: Any, params: Any = None, **options: Any) -> Generator[Copy]:
        with _timed(self.connection, statement), super().copy(statement, params, **options) as copy:
            yield copy


class _TimedServerCursor(psycopg.ServerCursor[Any]):
    """A cursor of the server: to open it is one call, each batch of rows is another."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        with _timed(self.connection, query):
            return super().execute(query, params, **options)

    def fetchmany(self, size: int = 0) -> list[Any]:
        with _timed(self.connection, "FETCH"):
            return super().fetchmany(size)


def database_of(database_url: Secret) -> str:
    """Return the name of the database that a URL leads to: libpq takes the user's where it names none."""
    parts = conninfo_to_dict(database_url.reveal())
    return str(parts.get("dbname") or parts.get("user") or "")


def has_database(connection: Connection, name: str) -> bool:
    """Say whether the server of a connection has a database of this name."""
    return connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is not None


@contextmanager
def maintenance(database_url: Secret) -> Generator[Connection]:
    """Connect to a database of the same server that does not depend on the database of the URL.

    Raises: psycopg.OperationalError, that of the last one tried.
    """
    *others, last = (name for name in MAINTENANCE if name != database_of(database_url))
    connection = None
    for name in others:
        with suppress(psycopg.OperationalError):
            connection = connect(database_url, dbname=name, connect_timeout=_SECONDS, autocommit=True)
            break
    with connection or connect(database_url, dbname=last, connect_timeout=_SECONDS, autocommit=True) as opened:
        yield opened
