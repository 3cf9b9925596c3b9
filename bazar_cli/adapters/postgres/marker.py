"""The marker: the one row that names the environment of a database and whether it is protected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bazar_cli.adapters.postgres.rows import fetch_one, fetch_value
from bazar_cli.domain.db.marker import DatabaseMarker, no_marker

if TYPE_CHECKING:
    from typing_extensions import LiteralString

    from bazar_cli.adapters.postgres.connections import Connection

_FIND = "SELECT id, current_database() AS database, environment, protected, created_at FROM bazar.deployment"


def find(connection: Connection) -> DatabaseMarker:
    """Return the marker. Raises: Conflict `db.no_marker`."""
    return _one(connection, _FIND)


def find_if_any(connection: Connection) -> DatabaseMarker | None:
    """Return the marker; None for a database without one."""
    return fetch_one(connection, DatabaseMarker, _FIND)


def lock(connection: Connection) -> DatabaseMarker:
    """Return the marker and lock its row until the transaction ends. Raises: as `find`."""
    return _one(connection, f"{_FIND} FOR UPDATE")


def change(connection: Connection, environment: str, *, protected: bool) -> None:
    """Write environment and protection; the id does not change."""
    connection.execute(
        "UPDATE bazar.deployment SET environment = %(environment)s, protected = %(protected)s",
        {"environment": environment, "protected": protected},
    )


def name(connection: Connection) -> str:
    """Return the name of the database."""
    return fetch_value(connection, "SELECT current_database()")


def _one(connection: Connection, query: LiteralString) -> DatabaseMarker:
    found = fetch_one(connection, DatabaseMarker, query)
    if found is None:
        raise no_marker()
    return found
