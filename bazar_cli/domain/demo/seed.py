"""Demo data for a database that nobody's work depends on: what `db seed` is asked, and what became of each part.

Nothing that exists is overwritten. Who was seeded and whom nobody changed since gets what an earlier run did not come
to; whoever else differs from what is wanted is left as they are, and told.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Scope, requires
from bazar_cli.domain.entities import Plan, Role, UserState
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.users.users import checked_password

SEED = requires("db.seed", Permission.DB_MIGRATE, scope=Scope.PLATFORM, writes=True)

USERS_MAX = 100_000
"""So many users a run makes at most, those of a file among them."""
PASSWORD_VARIABLE = "BAZAR_SEED_PASSWORD"  # noqa: S105 - a name
REASON = "demo data"
"""Why a demo user is suspended, for the audit log."""


@dataclass(frozen=True)
class SeedOrganization:
    """An organization that is wanted."""

    slug: str
    name: str


@dataclass(frozen=True)
class SeedMembership:
    """A place in an organization that is wanted for a user."""

    slug: str
    role: Role = Role.MEMBER


@dataclass(frozen=True)
class SeedUser:
    """A user who is wanted."""

    email: str
    name: str | None = None
    plan: Plan = Plan.FREE
    organizations: tuple[SeedMembership, ...] = ()
    state: UserState = UserState.ACTIVE


@dataclass(frozen=True)
class SeedData:
    """What is wanted, every value checked, no slug or address twice."""

    organizations: tuple[SeedOrganization, ...] = ()
    users: tuple[SeedUser, ...] = ()


@dataclass(frozen=True)
class Seed:
    """What `db seed` was asked: the data of a file, or None for the demo set; so many generated users beside them."""

    data: SeedData | None = None
    users: int = 0
    password: Secret | None = None
    """The password of users who are created; without one they have none yet."""


class Outcome(str, Enum):
    """What became of a user or an organization; of a dry run, what would."""

    CREATED = "created"
    TAKEN_BACK = "taken-back"
    """The identity was at Supabase, stamped by this Bazar, and has its user again, with its own id."""
    COMPLETED = "completed"
    """An earlier run did not come to all of it."""
    EXISTING = "existing"
    DIFFERS = "differs"
    """There with other values, and left as it is."""
    FAILED = "failed"

    def __str__(self) -> str:
        return self.value


WRITTEN = (Outcome.CREATED, Outcome.TAKEN_BACK, Outcome.COMPLETED)
"""What is no matter of looking alone."""


@dataclass(frozen=True)
class SeededOrganization:
    """What became of one organization."""

    slug: str
    name: str
    outcome: Outcome
    note: str = ""


@dataclass(frozen=True)
class SeededUser:
    """What became of one user; `id` is None for one who could not be made."""

    id: uuid.UUID | None
    email: str
    outcome: Outcome
    note: str = ""


@dataclass(frozen=True)
class Seeded:
    """What became of all of it."""

    host: str
    database: str
    environment: str
    organizations: tuple[SeededOrganization, ...]
    users: tuple[SeededUser, ...]

    def count(self, outcome: Outcome) -> int:
        """Return how many users ended in this way."""
        return sum(user.outcome is outcome for user in self.users)

    @property
    def partly_done(self) -> bool:
        """Whether something failed."""
        return any(part.outcome is Outcome.FAILED for part in (*self.organizations, *self.users))

    @property
    def writes(self) -> bool:
        """Whether something was written; of a dry run, whether something would be."""
        return any(part.outcome in WRITTEN for part in (*self.organizations, *self.users))


def seed_id(deployment: uuid.UUID, email: str) -> uuid.UUID:
    """Return the id of a demo user: the same whenever this deployment makes them, another one in every other."""
    return uuid.uuid5(deployment, email)


def checked_count(users: int) -> int:
    """Return how many users to generate. Raises: UsageError `seed.users_invalid`."""
    if not 0 <= users <= USERS_MAX:
        raise UsageError(
            "seed.users_invalid", f"--users {users} cannot be made: 0 to {USERS_MAX} are", hint="give another number"
        )
    return users


def seed_password(environ: Mapping[str, str]) -> Secret | None:
    """Return the password that demo users get, where the environment names one.

    Raises: UsageError `users.password_invalid`, naming the variable.
    """
    given = environ.get(PASSWORD_VARIABLE)
    if not given:
        return None
    try:
        return checked_password(Secret(given))
    except UsageError as error:
        hint = f"correct {PASSWORD_VARIABLE}, or leave it out"
        raise UsageError(error.code, f"{PASSWORD_VARIABLE}: {error.message}", hint=hint) from None
