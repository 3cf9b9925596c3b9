"""A new user: the wanted values, their comparison with an existing user, and the row.

`create` and `adopt` share it: both insert a row with `pending create`, and remove it if Supabase refuses.
"""

from __future__ import annotations

import uuid
from abc import abstractmethod
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.entities import Membership, Organization, Pending, Plan, Role, User, UserState
from bazar_cli.domain.errors import BazarError, Conflict
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.users.changes import CreateUser
from bazar_cli.domain.users.identities import IdentityRefused, OutcomeUnknown
from bazar_cli.services.users.errors import found_organization, taken_over
from bazar_cli.services.users.operation import Claim, Operation, Systems

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection


@dataclass(frozen=True)
class Wanted:
    """The checked values of a new user."""

    email: str
    name: str | None
    plan: Plan = Plan.FREE
    role: Role = Role.MEMBER
    plain: Secret | None = None
    bcrypt_hash: Secret | None = None
    generated: bool = False
    invite: bool = False

    @property
    def pending(self) -> Pending:
        """The value of `pending` in the row."""
        return Pending.INVITE if self.invite else Pending.CREATE


def organization_of(connection: Connection, grant: Grant, reference: str | None) -> Organization | None:
    """Lock the organization that was named, if any was. Raises: NotFound `orgs.not_found`."""
    from bazar_cli.adapters.postgres.orgs import organizations

    if reference is None:
        return None
    return found_organization(organizations.lock(connection, grant.reach, reference), reference)


def differences(
    request: CreateUser,
    wanted: Wanted,
    organization: Organization | None,
    user: User,
    *,
    unfinished: bool = False,
) -> list[str]:
    """Return the given values that a user does not have; of an `unfinished` user all but the name count as given.

    A command that finishes a creation may set the password. So it needs the rights of the command that began it, which
    the gate and the row rules ask of the same options.
    """
    roles = {m.organization_id: m.role for m in user.organizations}
    place = {organization.id: wanted.role} if organization else {}
    elsewhere = roles.keys() != place.keys() if unfinished else not roles.keys() >= place.keys()
    different = {
        "name": request.name is not None and wanted.name != user.name,
        "plan": (unfinished or request.plan is not None) and wanted.plan is not user.plan,
        "organization": elsewhere,
        "role": (unfinished or request.role is not None) and not elsewhere and not roles.items() >= place.items(),
    }
    return [name for name, differs in different.items() if differs]


def differs(email: str, different: list[str], what: str) -> Conflict:
    """Return the error for a user who is there with other values; `what` names the user, with `{email}`."""
    return Conflict(
        "users.differs",
        f"{what.format(email=email)} exists already, with another {' and '.join(different)}",
        hint=f"look at it with `{command_line('users get', email)}`",
        details={"email": email, "different": different},
    )


def insert(
    systems: Systems,
    connection: Connection,
    wanted: Wanted,
    organization: Organization | None,
    user_id: uuid.UUID,
    lease: uuid.UUID,
    *,
    adopted_as: UserState | None = None,
) -> tuple[Claim, User]:
    """Insert the row with `pending`, the lease and the audit event; return the claim and the new user.

    Parameters: `adopted_as` is the state of a user whose identity is at Supabase already.
    Raises: Conflict `users.email_exists` when another command was faster.
    """
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.users import changes, users

    adopted, state = adopted_as is not None, adopted_as or UserState.ACTIVE
    organization_id = organization.id if organization else None
    new = changes.NewUser(
        id=user_id,
        email=wanted.email,
        name=wanted.name,
        plan=wanted.plan,
        organization_id=organization_id,
        role=wanted.role,
        pending=wanted.pending,
        state=state,
        adopted=adopted,
    )
    changes.insert_pending(connection, new, lease)
    after: dict[str, object] = {"email": wanted.email, "name": wanted.name, "plan": wanted.plan.value}
    memberships: tuple[Membership, ...] = ()
    if adopted:
        after["state"] = state.value
    if organization is not None:
        after |= {"organization": organization.slug, "role": wanted.role.value}
        memberships = (Membership(organization.id, organization.slug, wanted.role),)
    if wanted.invite:
        after["invited"] = True
    events.record(connection, systems.grant, events.Change("user", user_id, organization_id, after=after))
    deployment = users.deployment(connection)
    claim = Claim(
        id=user_id, email=wanted.email, pending=wanted.pending, lease=lease, deployment=deployment, adopted=adopted
    )
    now = datetime.now(timezone.utc)
    return claim, User(user_id, wanted.email, wanted.name, wanted.plan, state, None, False, memberships, now, now)


class NewUser(Operation):
    """A user who is new to Postgres: the row is taken back, unless the identity bears the stamp of this deployment."""

    @abstractmethod
    def withdraw(self) -> None:
        """Take back at Supabase what this command did after another one deleted the user.

        Raises: IdentityRefused, OutcomeUnknown.
        """

    def undo(self, why: BazarError, /) -> None:
        """Remove the row, unless another command has gone on with it."""
        from bazar_cli.adapters.postgres.audit import events
        from bazar_cli.adapters.postgres.users import changes

        if self.has_identity and self.is_stamped:
            return
        claim, before = self.claim, {"email": self.claim.email}
        with self.systems.transaction() as connection:
            if changes.remove(connection, claim.id, claim.pending, claim.lease):
                undone = events.Change("user", claim.id, before=before, reason=why.message, outcome="undone")
                events.record(connection, self.systems.grant, undone)

    def lost(self, row: User | None, /) -> None:
        """Leave the row to the command that went on with it; of a deleted user nothing may be left at Supabase."""
        if row is None:
            try:
                self.withdraw()
            except (IdentityRefused, OutcomeUnknown) as error:
                raise self.unfinished(error) from error
            raise taken_over(self.claim.email, "deleted the user")
        if row.pending is not None:
            raise taken_over(self.claim.email, "is in the middle of a change of the user")
