"""The marker: the row in which a database says its environment, and whether it is protected."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Scope, requires
from bazar_cli.domain.consent import Consent
from bazar_cli.domain.errors import Conflict

SHOW_MARKER = requires("db.env.show", Permission.DB_READ, scope=Scope.PLATFORM, bootstrap=True)
SET_MARKER = requires("db.env.set", Permission.DB_RESET, scope=Scope.PLATFORM, writes=True)


@dataclass(frozen=True)
class ShowMarker:
    """The request of `db env`."""


@dataclass(frozen=True)
class SetMarker:
    """The request of `db env set`; `confirm` is the name of the database, typed again."""

    environment: str
    protected: bool
    confirm: Consent = None


@dataclass(frozen=True)
class DatabaseMarker:
    """The whole marker, with the name of the database that holds it."""

    id: UUID
    """The stamp of the identities of this Bazar."""
    database: str
    environment: str
    protected: bool
    created_at: datetime


def urls_differ(database: str | None = None, migration_database: str | None = None) -> Conflict:
    """The error for a target whose two URLs lead to two databases, with their names if known."""
    return Conflict(
        "db.urls_differ",
        "DATABASE_URL and DATABASE_MIGRATION_URL lead to two databases of bazar",
        hint="correct DATABASE_MIGRATION_URL",
        details={"database": database, "migration_database": migration_database} if database else {},
    )


def no_marker() -> Conflict:
    """The error for a database that has bazar's tables and no marker."""
    return Conflict(
        "db.no_marker",
        "the database has lost its marker, the row in bazar.deployment",
        hint="restore the row from a backup, or make a new one with `bazar db migrate --env NAME`",
    )
