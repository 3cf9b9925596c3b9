"""Results of queries: rows as typed objects, single values, enum values.

A query is constant text (LiteralString): values travel as parameters only. It is sent unprepared, with its parameters
apart, so Postgres infers their types; where it cannot, the query casts them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from psycopg.rows import kwargs_row, scalar_row

from bazar_cli.domain.errors import Conflict

if TYPE_CHECKING:
    from typing_extensions import LiteralString

    from bazar_cli.adapters.postgres.connections import Connection

T = TypeVar("T")
Member = TypeVar("Member", bound=Enum)
Values: TypeAlias = "Mapping[str, object] | Sequence[object]"


def fetch_all(
    connection: Connection, make: Callable[..., T], query: LiteralString, values: Values | None = None
) -> list[T]:
    """Return what `make` makes of each row; it takes the columns as keyword arguments. Raises: psycopg.Error."""
    return connection.cursor(row_factory=kwargs_row(make)).execute(query, values).fetchall()


def fetch_one(
    connection: Connection, make: Callable[..., T], query: LiteralString, values: Values | None = None
) -> T | None:
    """Return what `make` makes of the first row; None where there is no row. Raises: psycopg.Error."""
    return connection.cursor(row_factory=kwargs_row(make)).execute(query, values).fetchone()


def fetch_values(connection: Connection, query: LiteralString, values: Values | None = None) -> list[Any]:
    """Return the first column of every row. Raises: psycopg.Error."""
    return connection.cursor(row_factory=scalar_row).execute(query, values).fetchall()


def fetch_value(connection: Connection, query: LiteralString, values: Values | None = None) -> Any:
    """Return the first column of the first row; None where there is no row. Raises: psycopg.Error."""
    return connection.cursor(row_factory=scalar_row).execute(query, values).fetchone()


def fetch_batches(
    connection: Connection,
    make: Callable[..., T],
    query: LiteralString,
    values: Values | None = None,
    *,
    batch: int,
) -> Iterator[list[T]]:
    """Yield what `make` makes of the rows, `batch` of them in memory at a time. Raises: psycopg.Error."""
    with connection.cursor("batches", row_factory=kwargs_row(make)) as cursor:
        cursor.execute(query, values)
        while rows := cursor.fetchmany(batch):
            yield rows


def enum_value(kind: type[Member], value: str, column: str) -> Member:
    """Return the member of an enum that a column holds. Raises: Conflict `db.unknown_value` for any other value."""
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(str(member.value) for member in kind)
        raise Conflict(
            "db.unknown_value",
            f"bazar.{column} holds {value!r}, and this release knows only {known}",
            hint="use the release of bazar that wrote it, or let the owner of the table correct the value",
            details={"column": column, "value": value},
        ) from None
