"""What a reset carries over: the marker, the operator, the log of migrations; and a last look at what goes.

Rows go through JSON, column by column: the tables may have come from another revision than the one they go to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from bazar_cli.adapters.postgres.rows import estimated_rows
from bazar_cli.domain.db.migrations import LostTable
from bazar_cli.domain.db.reset import AuditLog

_THERE = "SELECT to_regclass(%s) IS NOT NULL"
_COLUMNS = "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"
_MARKER = "SELECT to_jsonb(d) FROM bazar.deployment d"
_OPERATOR = "SELECT to_jsonb(u) FROM bazar.users u WHERE id = %s"
_LOG = "SELECT to_jsonb(l) - 'id' FROM bazar.migration_log l ORDER BY id"
_SEAL = "SELECT bazar.seal_audit(NULL)"
_HEAD = "SELECT encode(hash, 'hex') FROM bazar.audit_seals ORDER BY position DESC LIMIT 1"
_OTHERS = """
    SELECT count(*) FILTER (WHERE is_superuser), count(*) FILTER (WHERE origin = 'created') FROM bazar.users
    WHERE id <> %s
"""
_COUNTED = 10_000
"""So many rows of a table are counted for a preview."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Kept:
    """Rows that are carried over, as they were."""

    marker: Row | None
    operator: Row | None
    log: tuple[Row, ...]


def kept_of(connection: psycopg.Connection, operator_id: UUID) -> Kept:
    """Read what is carried over. Raises: psycopg.Error."""
    log = _rows(connection, "bazar.migration_log", _LOG)
    marker = next(iter(_rows(connection, "bazar.deployment", _MARKER)), None)
    operator = next(iter(_rows(connection, "bazar.users", _OPERATOR, operator_id)), None)
    return Kept(marker, operator, tuple(log))


def carry_over(connection: psycopg.Connection, kept: Kept, operator_id: UUID, email: str) -> None:
    """Write it into the new tables: the operator as a superuser on Premium, the older part of the log first.

    Raises: psycopg.Error.
    """
    if kept.marker is not None:
        # The revisions make a marker too; what only newer ones know of it stays theirs.
        _replace(connection, "bazar.deployment", kept.marker)
    ruler = {
        "id": str(operator_id),
        "email": email,
        "origin": "adopted",
        **(kept.operator or {}),
        "plan": "premium",
        "state": "active",
        "is_superuser": True,
        **dict.fromkeys(("pending", "lease_owner", "lease_until", "updated_at")),
    }
    _insert(connection, "bazar.users", [{k: v for k, v in ruler.items() if v is not None}])
    if kept.log and _is_there(connection, "bazar.migration_log"):
        later = _rows(connection, "bazar.migration_log", _LOG)
        connection.execute("DELETE FROM bazar.migration_log")
        _insert(connection, "bazar.migration_log", [*kept.log, *later])


def deployment_of(connection: psycopg.Connection) -> UUID | None:
    """Return what stamps the identities of this Bazar; None for a database without marker. Raises: psycopg.Error."""
    marker = next(iter(_rows(connection, "bazar.deployment", _MARKER)), None)
    return None if marker is None else UUID(marker["id"])


def audit_log(connection: psycopg.Connection, *, sealing: bool) -> AuditLog | None:
    """Return what the audit log ends in; with `sealing` events that no seal holds come into a last one first.

    Raises: psycopg.Error.
    """
    if not _is_there(connection, "bazar.audit_events"):
        return None
    events = connection.execute("SELECT count(*) FROM bazar.audit_events").fetchall()[0][0]
    head = None
    if _is_there(connection, "bazar.audit_seals"):
        if sealing and connection.execute("SELECT to_regprocedure('bazar.seal_audit(integer)')").fetchall()[0][0]:
            connection.execute(_SEAL)
        row = connection.execute(_HEAD).fetchone()
        head = None if row is None else str(row[0])
    return AuditLog(events, head)


def others(connection: psycopg.Connection, operator_id: UUID) -> tuple[int, int]:
    """Return how many superusers there are beside the operator, and users whose identity bazar created.

    Raises: psycopg.Error.
    """
    if not _is_there(connection, "bazar.users"):
        return 0, 0
    superusers, created = connection.execute(_OTHERS, (operator_id,)).fetchall()[0]
    return superusers, created


def counted(connection: psycopg.Connection, tables: Iterable[str]) -> tuple[LostTable, ...]:
    """Count every row of tables, named as SQL has them. Raises: psycopg.Error."""
    return tuple(
        LostTable(name, connection.execute(f"SELECT count(*) FROM {name}".encode()).fetchall()[0][0])  # noqa: S608
        for name in tables
    )


def about(connection: psycopg.Connection, tables: Iterable[str]) -> tuple[LostTable, ...]:
    """Count the rows of small tables, and estimate those of large ones: nothing was ever analyzed in a copy.

    Raises: psycopg.Error.
    """
    found: list[LostTable] = []
    for table in estimated_rows(connection, tables):
        query = f"SELECT count(*) FROM (SELECT FROM {table.name} LIMIT {_COUNTED}) AS r"  # noqa: S608
        count = int(connection.execute(query.encode()).fetchall()[0][0])
        found.append(LostTable(table.name, max(count, table.rows) if count == _COUNTED else count))
    return tuple(found)


def _is_there(connection: psycopg.Connection, table: str) -> bool:
    return bool(connection.execute(_THERE, (table,)).fetchall()[0][0])


def _rows(connection: psycopg.Connection, table: str, query: str, *values: object) -> list[dict[str, Any]]:
    if not _is_there(connection, table):
        return []
    return [row[0] for row in connection.execute(query.encode(), values or None).fetchall()]


def _replace(connection: psycopg.Connection, table: str, row: Row) -> None:
    """Give the one row of a table the values that it had, in the columns that the table has."""
    known = {str(found[0]) for found in connection.execute(_COLUMNS, (table,)).fetchall()}
    place = Identifier(*table.split("."))
    changes = SQL(", ").join(SQL("{0} = r.{0}").format(Identifier(column)) for column in row if column in known)
    statement = SQL("UPDATE {0} SET {1} FROM jsonb_populate_record(NULL::{0}, %s) AS r").format(place, changes)
    connection.execute(statement, (Jsonb(dict(row)),))


def _insert(connection: psycopg.Connection, table: str, rows: list[Row]) -> None:
    """Insert rows in their order, of each the columns that the table has."""
    known = {str(row[0]) for row in connection.execute(_COLUMNS, (table,)).fetchall()}
    schema, name = table.split(".")
    for row in rows:
        columns = SQL(", ").join(Identifier(column) for column in row if column in known)
        place = Identifier(schema, name)
        statement = SQL("INSERT INTO {0} ({1}) SELECT {1} FROM jsonb_populate_record(NULL::{0}, %s)")
        connection.execute(statement.format(place, columns), (Jsonb(dict(row)),))
