"""Requests and results of `bazar doctor`: checks, findings with remedies, repairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Scope, Spec, public, requires
from bazar_cli.domain.entities import Pending
from bazar_cli.domain.text_enum import TextEnum

EXAMINE = public(
    "doctor",
    "its first part probes configuration and reachability, and reveals only whether an active superuser exists",
    writes=True,
)
COMPARE = requires(
    "doctor.compare", Permission.DB_READ, scope=Scope.PLATFORM, command="comparing both systems with bazar doctor"
)
FIX = requires("doctor.fix", Permission.USERS_UPDATE, scope=Scope.PLATFORM, writes=True, command="bazar doctor --fix")
PARTS: Mapping[str, Spec] = {"comparing both systems": COMPARE, "--fix": FIX}
"""The spec of each part. The gate decides about each one separately."""

SHOWN_ROWS = 100
"""A finding names at most this many rows. `count` is the number of all."""


class Health(TextEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class Mismatch(TextEnum):
    """A difference between a user in Postgres and an identity at Supabase. The value is the name of the check."""

    USERS_WITHOUT_IDENTITY = "users-without-identity"
    IDENTITIES_WITHOUT_USER = "identities-without-user"
    EMAILS_DIFFER = "emails-differ"
    BANNED_NOT_SUSPENDED = "banned-not-suspended"
    SUSPENDED_NOT_BANNED = "suspended-not-banned"


@dataclass(frozen=True)
class Affected:
    """One user, identity, organization or database object that a finding names."""

    id: UUID | None
    email: str = ""
    note: str = ""
    name: str = ""
    """The slug of an organization or the name of a database object."""

    @property
    def label(self) -> str:
        """The address, else the name, else the id."""
        return self.email or self.name or str(self.id)


@dataclass(frozen=True)
class Check:
    """One check: its result and, where one is needed, the remedy."""

    name: str
    status: Health
    detail: str
    remedy: str = ""
    count: int | None = None
    """How many rows are affected; None for a check that is not about rows."""
    rows: tuple[Affected, ...] = ()
    """The first `SHOWN_ROWS` of them."""


@dataclass(frozen=True)
class Diagnosis:
    """All checks in the order in which they ran."""

    checks: tuple[Check, ...]

    @property
    def findings(self) -> tuple[Check, ...]:
        """The checks with a warning or a failure."""
        return tuple(c for c in self.checks if c.status in {Health.WARNING, Health.FAILED})


@dataclass(frozen=True)
class PendingUser:
    """A user in the middle of a change in both systems."""

    id: UUID
    email: str
    pending: Pending
    leased: bool
    """True if a running command holds the lease."""
    adopted: bool = False
    """True for an adoption: the identity existed at Supabase before the user."""


@dataclass(frozen=True)
class Found:
    """The number of rows of one kind, and the first of them."""

    count: int
    rows: tuple[Affected, ...]


@dataclass(frozen=True)
class Comparison:
    """The result of comparing both systems."""

    pending: tuple[PendingUser, ...]
    found: Mapping[Mismatch, Found]
    """Every kind, also one without rows."""
    unread: int = 0
    """How many identities Supabase counts and does not list."""


@dataclass(frozen=True)
class Exposure:
    """Objects of the schema `bazar` that other roles can access, and the SQL that revokes it."""

    rows: tuple[Affected, ...]
    remedy: str


class Repaired(TextEnum):
    """How the repair of a pending user ended."""

    FINISHED = "finished"
    UNDONE = "undone"
    LEFT = "left"


@dataclass(frozen=True)
class Repair:
    """The repair of one pending user by `doctor --fix`."""

    user: PendingUser
    outcome: Repaired
    note: str = ""
