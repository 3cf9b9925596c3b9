"""Use cases on the database itself: its revision and marker, who holds what, and that it is there at all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import FieldRule, Scope, requires
from bazar_cli.domain.consent import Impact
from bazar_cli.domain.errors import Conflict

CURRENT = requires("db.current", Permission.DB_READ, scope=Scope.PLATFORM, bootstrap=True)
SHOW_MARKER = requires("db.env.show", Permission.DB_READ, scope=Scope.PLATFORM, bootstrap=True)
SET_MARKER = requires("db.env.set", Permission.DB_RESET, scope=Scope.PLATFORM, writes=True)
LOCKS = requires(
    "db.locks",
    Permission.DB_READ,
    scope=Scope.PLATFORM,
    writes=True,
    fields=MappingProxyType({"terminate": FieldRule(permission=Permission.DB_RESET)}),
)
CREATE = requires(
    "db.create", Permission.DB_RESET, scope=Scope.PLATFORM, writes=True, bootstrap=True, without_database=True
)
DROP = requires("db.drop", Permission.DB_RESET, scope=Scope.PLATFORM, writes=True)

_QUERY_LENGTH = 120


@dataclass(frozen=True)
class GetCurrent:
    """What `db current` was asked."""


@dataclass(frozen=True)
class CurrentRevision:
    """The revision that a database is at; None for one without tables."""

    revision: str | None
    is_head: bool


@dataclass(frozen=True)
class ShowMarker:
    """What `db env` was asked."""


@dataclass(frozen=True)
class SetMarker:
    """What `db env set` was asked; `confirm` is the name of the database, typed again."""

    environment: str
    protected: bool
    confirm: str | None = None


@dataclass(frozen=True)
class DatabaseMarker:
    """The whole marker, with the name of the database that holds it."""

    id: UUID
    """What stamps the identities of this Bazar."""
    database: str
    environment: str
    protected: bool
    created_at: datetime


@dataclass(frozen=True)
class ShowLocks:
    """What `db locks` was asked: with `terminate`, to end that session."""

    terminate: int | None = None
    agreed: Impact | None = None


@dataclass(frozen=True)
class LockSession:
    """A session that holds or awaits the migration lock, or a lock on one of bazar's tables.

    What Postgres hides from the role of the connection is None.
    """

    pid: int
    application: str | None
    user: str | None
    state: str | None
    age_seconds: int | None
    """Since its transaction began, or else its connection."""
    migrating: bool
    """It holds the migration lock."""
    tables: tuple[str, ...]
    """Of bazar's, those that it has locked or waits for."""
    blocked_by: tuple[int, ...]
    query: str | None
    """Shortened, without literals."""
    started_at: datetime | None
    """When it connected: with `pid` it names the session for good."""

    @property
    def text(self) -> str:
        """The session in a few words."""
        named = f", {self.application}" if self.application else ""
        return f"pid {self.pid}{named}, user {self.user or 'unknown'}"


@dataclass(frozen=True)
class CreateDatabase:
    """What `db create` was asked."""


@dataclass(frozen=True)
class DropDatabase:
    """What `db drop` was asked; `confirm` is the name of the database, typed again."""

    confirm: str | None = None


@dataclass(frozen=True)
class CreatedDatabase:
    """The database of the target, and whether this run made it, or would."""

    host: str
    database: str
    created: bool
    planned: bool = False
    """Of a dry run: `created` is what the real run would do."""


@dataclass(frozen=True)
class DroppedDatabase:
    """The database that was dropped, or would be."""

    host: str
    database: str
    environment: str


def urls_differ(database: str | None = None, migration_database: str | None = None) -> Conflict:
    """The error for the two URLs of a target that do not lead to the same database, with the names where known."""
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


# A query is cut off after so many bytes, and what a setting makes of a backslash is unknown: where a literal or a
# comment does not end for certain, all that follows counts as part of it.
_TOKEN = re.compile(
    r"""
    (?P<literal>
        \$(?P<tag>(?:[^\W\d]\w*)?)\$ .*? (?: \$(?P=tag)\$ | \Z )
      | [eE]'(?:[^'\\]|''|\\.)*'
      | '(?:[^'\\]|''|\\(?!'))*'
      | [eE]?'.*
    )
  | (?P<comment> --[^\n]* | /\*(?:(?!/\*|\*/).)*\*/ | /\*.* )
  | (?P<kept> "(?:[^"]|"")*(?:"|\Z) | \$\d+ | [^\W\d][\w$]* )
  | (?P<number> \d[\w.]* )
    """,
    re.X | re.S,
)


def without_literals(query: str) -> str:
    """Return a statement in one short line, with `?` for every literal and without comments."""

    def shown(match: re.Match[str]) -> str:
        if match["kept"] is not None:
            return match["kept"]
        return " " if match["comment"] is not None else "?"

    line = " ".join(_TOKEN.sub(shown, query).split())
    return line if len(line) <= _QUERY_LENGTH else f"{line[: _QUERY_LENGTH - 1]}…"
