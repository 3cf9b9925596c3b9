"""Demo data for a database without real users: the request of `db seed`, and the outcome of each part.

No existing row is overwritten. A demo user that an earlier run left incomplete, and that was not changed, is
completed. Any other user who differs from the data is not changed, and the result says so.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Scope, requires
from bazar_cli.domain.declared.shapes import USERS_MAX
from bazar_cli.domain.declared.state import ABSENT, DeclaredState, DeclaredUser
from bazar_cli.domain.entities import Plan, Role, UserState
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.text_enum import TextEnum
from bazar_cli.domain.users.values import checked_password

SEED = requires("db.seed", Permission.DB_MIGRATE, scope=Scope.PLATFORM, writes=True)

PASSWORD_VARIABLE = "BAZAR_SEED_PASSWORD"  # noqa: S105 - a name
REASON = "demo data"
"""The reason of a suspension in the audit log."""


@dataclass(frozen=True)
class Seed:
    """The request of `db seed`: the data of a file, None for the demo set; and how many users to generate."""

    data: DeclaredState | None = None
    users: int = 0
    password: Secret | None = None
    """The password of new users; without it they have none yet."""


class Outcome(TextEnum):
    """The outcome for a user or an organization; in a dry run the expected one."""

    CREATED = "created"
    TAKEN_BACK = "taken-back"
    """Supabase had an identity with the stamp of this Bazar, which got a user with its id again."""
    COMPLETED = "completed"
    """An earlier run had left it incomplete."""
    EXISTING = "existing"
    DIFFERS = "differs"
    """It exists with other values, and is not changed."""
    FAILED = "failed"


WRITTEN = (Outcome.CREATED, Outcome.TAKEN_BACK, Outcome.COMPLETED)
"""The outcomes for which something is written."""


@dataclass(frozen=True)
class SeededOrganization:
    """The outcome for one organization."""

    slug: str
    name: str
    outcome: Outcome
    note: str = ""


@dataclass(frozen=True)
class SeededUser:
    """The outcome for one user; `id` is None for a user who could not be created."""

    id: uuid.UUID | None
    email: str
    outcome: Outcome
    note: str = ""


@dataclass(frozen=True)
class Seeded:
    """The outcome of a run."""

    host: str
    database: str
    environment: str
    organizations: tuple[SeededOrganization, ...]
    users: tuple[SeededUser, ...]

    def count(self, outcome: Outcome) -> int:
        """Return how many users have this outcome."""
        return sum(user.outcome is outcome for user in self.users)

    @property
    def partly_done(self) -> bool:
        """Whether something failed."""
        return any(part.outcome is Outcome.FAILED for part in (*self.organizations, *self.users))

    @property
    def writes(self) -> bool:
        """Whether something was written; in a dry run, whether something would be."""
        return any(part.outcome in WRITTEN for part in (*self.organizations, *self.users))


def completed(state: DeclaredState) -> DeclaredState:
    """Return demo data with a value for all that it leaves out: demo users are made whole, and compared as a whole."""
    return replace(state, users=tuple(map(_completed, state.users)))


def _completed(user: DeclaredUser) -> DeclaredUser:
    return replace(
        user,
        name=None if user.name is ABSENT else user.name,
        plan=user.plan or Plan.FREE,
        organizations=tuple(replace(m, role=m.role or Role.MEMBER) for m in user.organizations),
        state=user.state or UserState.ACTIVE,
    )


def seed_id(deployment: uuid.UUID, email: str) -> uuid.UUID:
    """Return the id of a demo user: always the same in this deployment, and another one in every other deployment."""
    return uuid.uuid5(deployment, email)


def checked_count(users: int) -> int:
    """Return how many users to generate. Raises: UsageError `seed.users_invalid`."""
    if not 0 <= users <= USERS_MAX:
        raise UsageError(
            "seed.users_invalid", f"--users {users} is not valid", hint=f"give a number from 0 to {USERS_MAX}"
        )
    return users


def seed_password(environ: Mapping[str, str]) -> Secret | None:
    """Return the password for demo users, if the environment has one.

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
