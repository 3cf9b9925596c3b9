"""Use cases on migrations: status, migrate, rollback, redo, and waiting for the database."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Scope, public, requires
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.consent import Impact
from bazar_cli.domain.errors import Conflict, Refused, UsageError

MIGRATE = requires("db.migrate", Permission.DB_MIGRATE, scope=Scope.PLATFORM, writes=True, bootstrap=True)
STATUS = requires("db.status", Permission.DB_READ, scope=Scope.PLATFORM, bootstrap=True)
CURRENT = requires("db.current", Permission.DB_READ, scope=Scope.PLATFORM, bootstrap=True)
ROLLBACK = requires("db.rollback", Permission.DB_MIGRATE, scope=Scope.PLATFORM, writes=True)
REDO = requires("db.redo", Permission.DB_MIGRATE, scope=Scope.PLATFORM, writes=True)
WAIT = public("db.wait", "it opens a connection and reads nothing")

PRODUCTION = "production"
LOCAL = "local"


STATEMENT_TIMEOUT = "statement_timeout"
_LOOKS_FOR_CLIENTS = 14
DAY_SECONDS = 86_400.0
SHORTEST_SECONDS = 0.001
"""Postgres counts in milliseconds, and 0 means no limit."""
_ENVIRONMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True)
class Revision:
    """One revision: its id, the first line of its text, and what its file says."""

    id: str
    message: str
    checksum: str = ""
    """SHA-256 of the file, in hexadecimal digits."""
    transactional: bool = True
    """Whether it runs in a transaction; CREATE INDEX CONCURRENTLY cannot, and is alone in its file."""
    destructive: bool = False
    """Whether it deletes data: its `upgrade()`, or its `downgrade()` if it is to be rolled back."""
    downgrade_loses: tuple[str, ...] = ()
    """The tables, and the columns as `bazar.users.name`, that `downgrade()` drops with their data."""


@dataclass(frozen=True)
class ChangedRevision:
    """An applied revision whose file has changed since."""

    revision: Revision
    applied_checksum: str


@dataclass(frozen=True)
class Marker:
    """The marker of a database, which destructive commands obey."""

    environment: str
    protected: bool


@dataclass(frozen=True)
class Place:
    """The database of a command, safe to show."""

    host: str
    database: str
    marker: Marker | None
    server_version: str

    @property
    def frees_locks_of_the_dead(self) -> bool:
        """Whether the server notices during a statement that its client has ended: Postgres 14 and later do."""
        major = re.match(r"[0-9]+", self.server_version)
        return major is not None and int(major[0]) >= _LOOKS_FOR_CLIENTS


CHANGED_BY_HAND = (
    "if nothing is pending, the tables were changed by hand: make the missing objects as migrations/versions does, or"
    " restore a backup"
)
"""The hint for a database at the head that lacks an object of a revision."""


@dataclass(frozen=True)
class ReadOnly:
    """Why a database takes no writes: a standby server, or `default_transaction_read_only`."""

    standby: bool = False
    place: str | None = None
    """The place where it was set, such as `on the database app`."""
    undo: str | None = None
    """The SQL that takes it back there."""

    @property
    def reason(self) -> str:
        """The reason for machines."""
        return "standby" if self.standby else "default_transaction_read_only"

    @property
    def text(self) -> str:
        """The reason in a sentence."""
        if self.standby:
            return "its server is a standby"
        return f"default_transaction_read_only is on{f', set {self.place}' if self.place else ''}"

    def remedy(self, variable: str) -> str:
        """Return what to do. Parameters: `variable` is the one that holds the URL."""
        if self.standby:
            return f"let {variable} lead to the primary: name all servers, with target_session_attrs=read-write"
        undo = f"`{self.undo}`" if self.undo else "take it back where it was set"
        return f"Supabase sets it when the disk is almost full: free space first. Then, or for another cause: {undo}"


@dataclass(frozen=True)
class MigrationStatus:
    """Applied and pending revisions, from the oldest."""

    place: Place
    current: str | None
    head: str
    applied: tuple[Revision, ...]
    pending: tuple[Revision, ...]
    unknown: bool
    """The database is at a revision that this release does not have: a newer bazar migrated it."""
    changed: tuple[ChangedRevision, ...] = ()
    """Revisions that were applied from other files than those of this release."""
    read_only: ReadOnly | None = None
    """Why the database takes no writes; None if it takes them."""


@dataclass(frozen=True)
class GetStatus:
    """The request of `db status`."""


@dataclass(frozen=True)
class GetCurrent:
    """The request of `db current`."""


@dataclass(frozen=True)
class CurrentRevision:
    """The revision that a database is at; None for one without tables."""

    revision: str | None
    is_head: bool


@dataclass(frozen=True)
class Migrate:
    """The request of `db migrate`.

    Parameters: `revision` None is the head; `steps` counts pending revisions; times are in seconds, and a
    `statement_timeout` of None is no limit; `environment` and `protected` mark a database that has no marker yet, None
    for the target's default.
    """

    revision: str | None = None
    steps: int | None = None
    sql: bool = False
    lock_wait: float = 60.0
    lock_timeout: float = 3.0
    statement_timeout: float | None = None
    environment: str | None = None
    protected: bool | None = None


@dataclass(frozen=True)
class AppliedRevision:
    """A revision that this run applied or rolled back, its duration, and how often a lock made it start again."""

    revision: Revision
    milliseconds: int
    retries: int


@dataclass(frozen=True)
class Migrated:
    """What a run of `db migrate` did; of a dry run, what it would do, with the SQL where asked."""

    place: Place
    current: str | None
    head: str
    applied: tuple[AppliedRevision, ...]
    pending: tuple[Revision, ...]
    waited_ms: int
    holder: str | None
    """The session that held the migration lock while this run waited."""
    sql: str | None = None
    would_apply: tuple[Revision, ...] | None = None
    """The requested ones of `pending`; None if this was not a dry run."""


@dataclass(frozen=True)
class Rollback:
    """The request of `db rollback`: the last `steps` revisions, all after `to`, or the newest if both are None.

    Parameters: `statement_timeout` as in `Migrate`.
    """

    steps: int | None = None
    to: str | None = None
    agreed: Impact | None = None
    statement_timeout: float | None = None


@dataclass(frozen=True)
class Redo:
    """The request of `db redo`. Parameters: `statement_timeout` as in `Migrate`."""

    agreed: Impact | None = None
    statement_timeout: float | None = None


@dataclass(frozen=True)
class LostTable:
    """A table that loses its rows, and about how many there are."""

    name: str
    rows: int


@dataclass(frozen=True)
class RolledBack:
    """The result of `db rollback` or `db redo`, or of its dry run, with the SQL."""

    place: Place
    current: str | None
    head: str
    reverted: tuple[AppliedRevision, ...]
    applied: tuple[AppliedRevision, ...]
    """Applied again, by `db redo`."""
    would_revert: tuple[Revision, ...]
    would_apply: tuple[Revision, ...]
    """Applied again, by `db redo`; of a dry run."""
    pending: tuple[Revision, ...]
    lost_tables: tuple[LostTable, ...]
    lost_columns: tuple[str, ...]
    waited_ms: int
    holder: str | None
    sql: str | None = None


@dataclass(frozen=True)
class Wait:
    """The request of `db wait`, in seconds."""

    timeout: float = 60.0


@dataclass(frozen=True)
class Waited:
    """How long `db wait` took until the database answered."""

    place: Place
    milliseconds: int


def refuse_protected(status: MigrationStatus, doing: str, *, embedded: bool) -> None:
    """Refuse a destructive command on a protected database.

    One with bazar's tables and without marker counts as protected, unless it is the embedded stack's.
    Parameters: `doing` as in `refuse_by_marker`. Raises: Refused `db.protected`, `db.unmarked`.
    """
    place = status.place
    if place.marker is None and (status.current is None or embedded):
        return
    refuse_by_marker(place.host, place.database, place.marker, doing)


def refuse_by_marker(host: str, database: str, marker: Marker | None, doing: str) -> Marker:
    """Return the marker of an unprotected database. No option overrides the marker.

    Parameters: `doing` names the command, such as `rolling back`.
    Raises: Refused `db.protected`, `db.unmarked`.
    """
    details = {"host": host, "database": database, "environment": None if marker is None else marker.environment}
    if marker is None:
        raise Refused(
            "db.unmarked",
            f"{database} on {host} has lost its marker and counts as protected: {doing} is refused",
            hint="`bazar db migrate --env NAME` makes a new marker, with --unprotected for an unprotected one",
            details=details,
        )
    if marker.protected:
        unprotect = command_line("db env set", marker.environment, unprotected=True, confirm=database)
        raise Refused(
            "db.protected",
            f"{database} on {host} is marked {marker.environment}, protected: {doing} is refused",
            hint=f"no option overrides the marker. If it is no longer right: `{unprotect}`",
            details=details,
        )
    return marker


def moved(before: str | None, now: str | None) -> Conflict:
    """The error for a database whose revision changed after the operator saw it."""
    return Conflict(
        "db.moved",
        f"the database changed after it was shown, from revision {before} to {now}; nothing was done"
        if before != now
        else f"tables or files of revision {now} changed after they were shown; nothing was done",
        hint="look with `bazar db status`, then run the command again",
    )


def disagreement(status: MigrationStatus) -> Conflict | None:
    """Return the error for a database whose revisions or checksums are not those of this release, if it has any."""
    if status.unknown:
        return Conflict(
            "db.unknown_revision",
            f"the database is at revision {status.current}, which this release of bazar does not have",
            hint="use the release of bazar that migrated it, or a newer one",
            details={"current": status.current, "head": status.head},
        )
    if status.changed:
        names = ", ".join(c.revision.id for c in status.changed)
        return Conflict(
            "db.revision_changed",
            f"applied revisions have other files now than when they were applied: {names}",
            hint="use the release that applied them, or put the files back and the change into a new revision",
            details={
                "changed": [
                    {
                        "revision": c.revision.id,
                        "applied_checksum": c.applied_checksum,
                        "checksum": c.revision.checksum,
                    }
                    for c in status.changed
                ]
            },
        )
    return None


def checked_seconds(option: str, seconds: float, *, least: float = 0.0) -> float:
    """Return a time that can be waited for. Raises: UsageError `usage.invalid_value`."""
    if not least <= seconds <= DAY_SECONDS:
        raise UsageError(
            "usage.invalid_value",
            f"{option} {seconds:g} is not valid: {least:g} to {DAY_SECONDS:.0f} seconds are allowed",
            hint=f"give {option} a number of seconds",
        )
    return seconds


def checked_statement_timeout(seconds: float | None) -> None:
    """Check a time limit for statements. Raises: UsageError `usage.invalid_value`."""
    if seconds is not None:
        checked_seconds("--statement-timeout", seconds, least=SHORTEST_SECONDS)


def checked_environment(name: str) -> str:
    """Return the name of an environment. Raises: UsageError `db.environment_name`."""
    if not _ENVIRONMENT.fullmatch(name):
        raise UsageError(
            "db.environment_name",
            f"{name[:80]!r} cannot name an environment: letters, digits, dots, hyphens, underscores, at most 63",
            hint="name it like staging, or leave --env out for production",
        )
    return name
