"""The doctor: checks, what they found, what to do about it, and what it finishes itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Scope, Spec, public, requires
from bazar_cli.domain.entities import Pending

EXAMINE = public(
    "doctor",
    "its first part probes configuration and reachability, and of data says only whether an active superuser exists",
    writes=True,
)
COMPARE = requires(
    "doctor.compare", Permission.DB_READ, scope=Scope.PLATFORM, command="comparing both systems with bazar doctor"
)
FIX = requires("doctor.fix", Permission.USERS_UPDATE, scope=Scope.PLATFORM, writes=True, command="bazar doctor --fix")
PARTS: Mapping[str, Spec] = {"comparing both systems": COMPARE, "--fix": FIX}
"""What its parts require, each asked of the gate by itself."""

SHOWN_ROWS = 100
"""So many rows of one finding are named; `count` says how many there are."""


class Health(str, Enum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"

    def __str__(self) -> str:
        return self.value


class Mismatch(str, Enum):
    """How a user in Postgres and an identity at Supabase can disagree; the value names the check."""

    USERS_WITHOUT_IDENTITY = "users-without-identity"
    IDENTITIES_WITHOUT_USER = "identities-without-user"
    EMAILS_DIFFER = "emails-differ"
    BANNED_NOT_SUSPENDED = "banned-not-suspended"
    SUSPENDED_NOT_BANNED = "suspended-not-banned"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Affected:
    """One user, identity, organization or object of the database that a finding is about."""

    id: UUID | None
    email: str = ""
    note: str = ""
    name: str = ""
    """The slug of an organization, or the name in the database: what has no address."""

    @property
    def label(self) -> str:
        """What a sentence calls it."""
        return self.email or self.name or str(self.id)


@dataclass(frozen=True)
class Check:
    """One check: what was looked at, what was found, and the remedy where one is needed."""

    name: str
    status: Health
    detail: str
    remedy: str = ""
    count: int | None = None
    """How many rows are affected; None where the check is about no rows."""
    rows: tuple[Affected, ...] = ()
    """The first `SHOWN_ROWS` of them."""


@dataclass(frozen=True)
class Diagnosis:
    """All checks, in the order they ran."""

    checks: tuple[Check, ...]

    @property
    def findings(self) -> tuple[Check, ...]:
        """The checks that ask for something to be done."""
        return tuple(c for c in self.checks if c.status in {Health.WARNING, Health.FAILED})


@dataclass(frozen=True)
class PendingUser:
    """A user in the middle of a change in both systems."""

    id: UUID
    email: str
    pending: Pending
    leased: bool
    """A command is at it right now."""
    adopted: bool = False
    """The identity was at Supabase first: what is pending as a creation is an adoption."""


@dataclass(frozen=True)
class Found:
    """Rows of one kind: how many, and the first of them."""

    count: int
    rows: tuple[Affected, ...]


@dataclass(frozen=True)
class Comparison:
    """Both systems side by side."""

    pending: tuple[PendingUser, ...]
    found: Mapping[Mismatch, Found]
    """Every kind, also one of which nothing was found."""
    unread: int = 0
    """Identities that Supabase counts and its list never showed."""


@dataclass(frozen=True)
class Exposure:
    """What of the schema `bazar` is open to others, and the SQL that closes it."""

    rows: tuple[Affected, ...]
    remedy: str


class Repaired(str, Enum):
    """What became of a pending user that the doctor took up."""

    FINISHED = "finished"
    UNDONE = "undone"
    LEFT = "left"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Repair:
    """One pending user taken up by `doctor --fix`."""

    user: PendingUser
    outcome: Repaired
    note: str = ""
