"""Resetting the database: what bazar owns goes and is made anew, all else stays."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Scope, requires
from bazar_cli.domain.db.migrations import AppliedRevision, LostTable, Place, Revision
from bazar_cli.domain.demo.seed import Seeded

RESET = requires("db.reset", Permission.DB_RESET, scope=Scope.PLATFORM, writes=True, bootstrap=True)


@dataclass(frozen=True)
class ResetDatabase:
    """What `db reset` was asked; `confirm` is the name of the database, typed again.

    Parameters: with `identities` those go too that this deployment created at Supabase; with `seed` the demo data is
    made after it; `asks` says that somebody can type the name once they saw what would go.
    """

    confirm: str | None = None
    identities: bool = False
    seed: bool = False
    asks: bool = False


@dataclass(frozen=True)
class AuditLog:
    """How long the audit log was, and the hash of its last seal, as `audit verify` prints it."""

    events: int
    head: str | None


@dataclass(frozen=True)
class ResetPlan:
    """What a database would lose by a reset, and what stays."""

    place: Place
    current: str | None
    head: str
    pending: tuple[Revision, ...]
    """All revisions: the tables are made anew from the first one."""
    tables: tuple[LostTable, ...]
    unsure: tuple[str, ...]
    """Of what goes, that which no revision of this release makes: the database was migrated by other files."""
    strangers: tuple[str, ...]
    """In the schema `bazar`, and not bazar's."""
    dependents: tuple[str, ...]
    """Outside, and built on what goes: made again after it."""
    superusers: int
    """Rows that go but for the operator's: other superusers."""
    created_users: int
    """Users but for the operator whose identity at Supabase bazar created."""
    audit: AuditLog | None
    deployment: UUID | None
    """What stamps the identities of this Bazar."""


@dataclass(frozen=True)
class DatabaseReset:
    """What `db reset` did; of a dry run, what it would do."""

    place: Place
    previous: str | None
    current: str | None
    head: str
    applied: tuple[AppliedRevision, ...]
    pending: tuple[Revision, ...]
    tables: tuple[LostTable, ...]
    strangers: tuple[str, ...]
    dependents: tuple[str, ...]
    superuser: str
    audit: AuditLog | None
    identities: int | None
    """How many identities were deleted at Supabase, or would be; None without `--identities`."""
    waited_ms: int = 0
    holder: str | None = None
    seeded: Seeded | None = None
    """What became of the demo data; None without `--seed`, and of a dry run: the tables are not empty yet."""
