"""Resetting the database: the rows of bazar's tables are deleted, and objects of others are kept."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Scope, requires
from bazar_cli.domain.consent import Consent
from bazar_cli.domain.db.migrations import AppliedRevision, LostTable, Place, Revision
from bazar_cli.domain.demo.seed import Seeded
from bazar_cli.domain.errors import Conflict

RESET = requires("db.reset", Permission.DB_RESET, scope=Scope.PLATFORM, writes=True, bootstrap=True)
COUNTED_ROWS = 10_000
"""A preview counts at most this many rows of a table, and estimates beyond."""
_SHOWN_DEPENDENTS = 200


@dataclass(frozen=True)
class ResetDatabase:
    """The request of `db reset`; `confirm` is the name of the database, typed again.

    Parameters: `identities` also deletes the identities that this deployment created at Supabase; `seed` makes the demo
    data afterwards.
    """

    confirm: Consent = None
    identities: bool = False
    seed: bool = False


@dataclass(frozen=True)
class AuditLog:
    """How long the audit log was, and the hash of its last seal, as `audit verify` prints it."""

    events: int
    head: str | None


@dataclass(frozen=True)
class ResetPlan:
    """Objects and rows that a reset of a database deletes and keeps."""

    place: Place
    current: str | None
    head: str
    in_place: bool
    """The database is at the head: tables are emptied, and none is dropped."""
    missing: tuple[str, ...]
    """Tables and views of bazar that a database at the head lacks. If there are any, all are created again."""
    pending: tuple[Revision, ...]
    """The revisions to apply after tables were dropped: all of them."""
    tables: tuple[LostTable, ...]
    unsure: tuple[str, ...]
    """Dropped objects that no revision of this release makes: other files migrated the database."""
    strangers: tuple[str, ...]
    """Objects of others in the schema `bazar`."""
    dependents: tuple[str, ...]
    """Statements that drop objects of others which depend on what would be dropped."""
    foreign_keys: tuple[str, ...]
    """Foreign keys of other tables that point to emptied ones: dropped, and created again."""
    superusers: int
    """Other superusers, whose rows are deleted."""
    created_users: int
    """Other users whose identity at Supabase bazar created."""
    audit: AuditLog | None
    deployment: UUID | None
    """The stamp of the identities of this Bazar."""

    def result(self, superuser: str, identities: int | None) -> DatabaseReset:
        """Return what a dry run shows: this reset, with nothing done yet."""
        return DatabaseReset(
            place=self.place,
            previous=self.current,
            current=self.current,
            head=self.head,
            in_place=self.in_place,
            applied=(),
            pending=self.pending,
            tables=self.tables,
            strangers=self.strangers,
            foreign_keys=self.foreign_keys,
            superuser=superuser,
            audit=self.audit,
            identities=identities,
        )


@dataclass(frozen=True)
class DatabaseReset:
    """The result of `db reset`, or of its dry run."""

    place: Place
    previous: str | None
    current: str | None
    head: str
    in_place: bool
    applied: tuple[AppliedRevision, ...]
    pending: tuple[Revision, ...]
    tables: tuple[LostTable, ...]
    strangers: tuple[str, ...]
    foreign_keys: tuple[str, ...]
    superuser: str
    audit: AuditLog | None
    identities: int | None
    """How many identities were deleted at Supabase, or would be; None without `--identities`."""
    waited_ms: int = 0
    holder: str | None = None
    seeded: Seeded | None = None
    """The result of writing the demo data; None without `--seed`, and for a dry run: the tables are not empty yet."""


def needed_by_others(plan: ResetPlan) -> Conflict:
    """The error for objects of others that depend on tables which a reset would drop."""
    shown = plan.dependents[:_SHOWN_DEPENDENTS]
    more = len(plan.dependents) - len(shown)
    if plan.current != plan.head:
        reason = f"the database is at revision {plan.current or 'none'} and not at {plan.head}"
        remedy = "run these statements, or `bazar db migrate` if it can reach the head, where a reset drops nothing"
    else:
        missing = f"{', '.join(plan.missing)} {'is' if len(plan.missing) == 1 else 'are'} missing"
        reason = missing if plan.missing else "other files than those of this release migrated the database"
        remedy = "run these statements"
    depend = "object of others depends" if len(plan.dependents) == 1 else "objects of others depend"
    return Conflict(
        "db.needed_by_others",
        f"{len(plan.dependents)} {depend} on tables that must be dropped, as {reason}:"
        f" {'; '.join(shown)}{f'; and {more} more, which `-o json` shows' if more else ''}",
        hint=f"{remedy}; then run the command again. Nothing was done",
        details={"dependents": list(plan.dependents)},
    )
