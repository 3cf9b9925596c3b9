"""The marker: the one row in which a database says what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from bazar_cli.domain.db.database import DatabaseMarker, no_marker

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection

_FIND = "SELECT id, current_database() AS database, environment, protected, created_at FROM bazar.deployment"


def find(connection: Connection) -> DatabaseMarker:
    """Return the marker. Raises: Conflict `db.no_marker`."""
    return _one(connection, _FIND)


def find_if_any(connection: Connection) -> DatabaseMarker | None:
    """Return the marker; None for a database that has lost it."""
    return _if_any(connection, _FIND)


def lock(connection: Connection) -> DatabaseMarker:
    """Return the marker and keep others from changing it until the transaction ends. Raises: as `find`."""
    return _one(connection, f"{_FIND} FOR UPDATE")


def change(connection: Connection, environment: str, *, protected: bool) -> None:
    """Set what the database says of itself; its id stays."""
    connection.execute(
        text("UPDATE bazar.deployment SET environment = :environment, protected = :protected"),
        {"environment": environment, "protected": protected},
    )


def name(connection: Connection) -> str:
    """Return the name of the database."""
    return str(connection.execute(text("SELECT current_database()")).scalar_one())


def _one(connection: Connection, query: str) -> DatabaseMarker:
    found = _if_any(connection, query)
    if found is None:
        raise no_marker()
    return found


def _if_any(connection: Connection, query: str) -> DatabaseMarker | None:
    row = connection.execute(text(query)).one_or_none()
    return None if row is None else DatabaseMarker(row.id, row.database, row.environment, row.protected, row.created_at)
