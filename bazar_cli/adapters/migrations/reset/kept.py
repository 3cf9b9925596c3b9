"""Rows that a reset keeps: the marker, the operator, the log of migrations. And facts about what it deletes.

A rebuild carries rows as JSON: it may find them in the tables of another revision, and columns of others go with those.
At the head rows are carried as Postgres writes them, so that values of others come back exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg.errors import UndefinedColumn, UndefinedFunction, UndefinedTable
from psycopg.sql import SQL, Identifier, Placeholder
from psycopg.types.json import Jsonb

from bazar_cli.adapters.postgres.row_estimates import estimated_rows
from bazar_cli.domain.db.migrations import LostTable
from bazar_cli.domain.db.reset import COUNTED_ROWS, AuditLog

_WRITABLE = """
    SELECT attname::text FROM pg_attribute
    WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""
_OTHERS = """
    SELECT count(*) FILTER (WHERE is_superuser), count(*) FILTER (WHERE origin = 'created') FROM bazar.users
    WHERE id <> %s
"""
_PART_IS_MISSING = (UndefinedTable, UndefinedFunction, UndefinedColumn)
_EXACT_TEXT = "SET LOCAL extra_float_digits = 1; SET LOCAL datestyle = 'ISO'; SET LOCAL intervalstyle = 'postgres'"
_SUPERUSER: dict[str, Any] = {
    "plan": "premium",
    "state": "active",
    "is_superuser": True,
    "pending": None,
    "lease_owner": None,
    "lease_until": None,
}
Row = Mapping[str, Any]


@dataclass(frozen=True)
class KeptRows:
    """Rows that a rebuild carries over."""

    marker: Row | None
    operator: Row
    log: tuple[Row, ...]


@dataclass(frozen=True)
class WrittenRow:
    """A row that a reset at the head writes."""

    found: str | None
    """The row that was there, as Postgres writes it; None for a new one."""
    values: Row
    """Values that the reset sets, by column."""
    defaults: frozenset[str] = frozenset()
    """Columns that get their defaults instead of what was found."""


def read_kept(connection: psycopg.Connection, operator_id: UUID, email: str) -> KeptRows:
    """Read what a rebuild carries over. Raises: psycopg.Error."""
    marker = next(iter(json_rows(connection, "bazar.deployment")), None)
    log = json_rows(connection, "bazar.migration_log", "ORDER BY id")
    operator = _new_user(operator_id, email)
    for found in json_rows(connection, "bazar.users", "WHERE id = %s", operator_id):
        operator |= found
    operator.pop("updated_at", None)
    return KeptRows(marker, operator | _SUPERUSER, tuple(log))


def operator_row(connection: psycopg.Connection, operator_id: UUID, email: str) -> WrittenRow:
    """Return the operator's row, or a new one, as of a superuser on Premium. Raises: psycopg.Error."""
    found = row_texts(connection, "bazar.users", ("id",), "WHERE t.id = %s", operator_id).get((str(operator_id),))
    values = _SUPERUSER if found is not None else {**_new_user(operator_id, email), **_SUPERUSER}
    return WrittenRow(found, values, frozenset({"updated_at"}))


def row_texts(
    connection: psycopg.Connection, table: str, key: tuple[str, ...], rest: str = "", *values: object
) -> dict[tuple[str, ...], str]:
    """Return the rows of a table at the head as Postgres writes them, by their keys. Raises: psycopg.Error."""
    connection.execute(_EXACT_TEXT)
    keys = ", ".join(f"t.{column}::text" for column in key)
    query = f"SELECT {keys}, (t.*)::text FROM ONLY {table} t {rest}"  # noqa: S608 - constants
    return {row[:-1]: row[-1] for row in connection.execute(query.encode(), values or None).fetchall()}


def write_row(connection: psycopg.Connection, table: str, row: WrittenRow) -> None:
    """Insert a row into a table at the head. Raises: psycopg.Error."""
    columns = sorted(row.values if row.found is None else _writable(connection, table) - row.defaults)
    place = Identifier(*table.split("."))
    statement = SQL("INSERT INTO {0} ({1}) OVERRIDING SYSTEM VALUE SELECT {2} FROM (SELECT %(found)s::{0} AS x) AS k")
    names = SQL(", ").join(map(Identifier, columns))
    values = SQL(", ").join(
        Placeholder(c) if c in row.values else SQL("(k.x).{}").format(Identifier(c)) for c in columns
    )
    connection.execute(statement.format(place, names, values), {**row.values, "found": row.found})


def write_kept(connection: psycopg.Connection, kept: KeptRows) -> None:
    """Write kept rows into new tables, the older part of the log first. Raises: psycopg.Error."""
    if kept.marker is not None:
        # The first revision made a marker; columns that only newer revisions have keep their values.
        _replace(connection, "bazar.deployment", kept.marker)
    insert(connection, "bazar.users", [{k: v for k, v in kept.operator.items() if v is not None}])
    if kept.log and _is_there(connection, "bazar.migration_log"):
        newer = json_rows(connection, "bazar.migration_log", "ORDER BY id")
        connection.execute("DELETE FROM bazar.migration_log")
        rows = [{k: v for k, v in row.items() if k != "id"} for row in (*kept.log, *newer)]
        insert(connection, "bazar.migration_log", rows)


def deployment_id(connection: psycopg.Connection) -> UUID | None:
    """Return what stamps the identities of this Bazar; None for a database without marker. Raises: psycopg.Error."""
    marker = next(iter(json_rows(connection, "bazar.deployment")), None)
    return None if marker is None else UUID(marker["id"])


def audit_log(connection: psycopg.Connection, *, sealing: bool) -> AuditLog | None:
    """Return the length and the last hash of the audit log; with `sealing` all events get into a seal before.

    Where a part that seals is missing, the last seal that is there counts. Raises: psycopg.Error.
    """
    if not _is_there(connection, "bazar.audit_events"):
        return None
    events = connection.execute("SELECT count(*) FROM bazar.audit_events").fetchall()[0][0]
    last = None
    if _is_there(connection, "bazar.audit_seals"):
        if sealing:
            # Only the outer block commits.
            with suppress(*_PART_IS_MISSING), connection.transaction():
                connection.execute("SELECT bazar.seal_audit(NULL)")
        last = connection.execute(
            "SELECT encode(hash, 'hex') FROM bazar.audit_seals ORDER BY position DESC LIMIT 1"
        ).fetchone()
    return AuditLog(events, None if last is None else str(last[0]))


def other_users(connection: psycopg.Connection, operator_id: UUID) -> tuple[int, int]:
    """Return how many other superusers there are, and other users whose identity bazar created.

    Raises: psycopg.Error.
    """
    if not _is_there(connection, "bazar.users"):
        return 0, 0
    superusers, created = connection.execute(_OTHERS, (operator_id,)).fetchall()[0]
    return superusers, created


def counted_rows(connection: psycopg.Connection, tables: Iterable[str]) -> tuple[LostTable, ...]:
    """Count the rows of tables, named as SQL has them. Raises: psycopg.Error."""
    return tuple(
        LostTable(name, connection.execute(f"SELECT count(*) FROM ONLY {name}".encode()).fetchall()[0][0])  # noqa: S608
        for name in tables
    )


def about_rows(connection: psycopg.Connection, tables: Iterable[str]) -> tuple[LostTable, ...]:
    """Count the rows of small tables, and estimate those of large ones: a copy has no estimates at all.

    Raises: psycopg.Error.
    """
    found: list[LostTable] = []
    for table in estimated_rows(connection, tables):
        query = f"SELECT count(*) FROM (SELECT FROM ONLY {table.name} LIMIT {COUNTED_ROWS}) AS r"  # noqa: S608
        count = int(connection.execute(query.encode()).fetchall()[0][0])
        found.append(LostTable(table.name, max(count, table.rows) if count == COUNTED_ROWS else count))
    return tuple(found)


def json_rows(connection: psycopg.Connection, table: str, rest: str = "", *values: object) -> list[dict[str, Any]]:
    """Return rows as JSON has them, none where the table is missing. `rest` ends the query. Raises: psycopg.Error."""
    if not _is_there(connection, table):
        return []
    # `r.*` is the row; a column of others that is named `r` would be what a bare `r` means.
    query = f"SELECT to_jsonb(r.*) FROM ONLY {table} r {rest}"  # noqa: S608 - constants
    return [row[0] for row in connection.execute(query.encode(), values or None).fetchall()]


def insert(connection: psycopg.Connection, table: str, rows: Iterable[Row]) -> None:
    """Insert rows of JSON in their order, of each the columns that the table has. Raises: psycopg.Error."""
    writable, place = _writable(connection, table), Identifier(*table.split("."))
    for row in rows:
        columns = SQL(", ").join(Identifier(column) for column in row if column in writable)
        statement = SQL(
            "INSERT INTO {0} ({1}) OVERRIDING SYSTEM VALUE SELECT {1} FROM jsonb_populate_record(NULL::{0}, %s)"
        )
        connection.execute(statement.format(place, columns), (Jsonb(dict(row)),))


def _replace(connection: psycopg.Connection, table: str, row: Row) -> None:
    """Give the one row of a table the values of `row`, in the columns that the table has."""
    writable, place = _writable(connection, table), Identifier(*table.split("."))
    changes = SQL(", ").join(SQL("{0} = r.{0}").format(Identifier(column)) for column in row if column in writable)
    statement = SQL("UPDATE {0} SET {1} FROM jsonb_populate_record(NULL::{0}, %s) AS r").format(place, changes)
    connection.execute(statement, (Jsonb(dict(row)),))


def _new_user(user_id: UUID, email: str) -> dict[str, Any]:
    return {"id": str(user_id), "email": email, "origin": "adopted"}


def _writable(connection: psycopg.Connection, table: str) -> frozenset[str]:
    return frozenset(str(row[0]) for row in connection.execute(_WRITABLE, (table,)).fetchall())


def _is_there(connection: psycopg.Connection, table: str) -> bool:
    return bool(connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchall()[0][0])
