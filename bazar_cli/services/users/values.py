"""The values of a user to be: where they go, and how they compare with whom is there already."""

from __future__ import annotations

import uuid
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.entities import Membership, Organization, User, UserState
from bazar_cli.domain.errors import Conflict
from bazar_cli.domain.users.users import CreateUser
from bazar_cli.services.users.errors import organization_not_found

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.users.provision import Wanted


def organization_of(connection: Connection, grant: Grant, reference: str | None) -> Organization | None:
    """Lock the organization that was named, if any was. Raises: NotFound `orgs.not_found`."""
    from bazar_cli.adapters.postgres.orgs import organizations

    if reference is None:
        return None
    found = organizations.lock(connection, grant.reach, reference)
    if found is None:
        raise organization_not_found(reference)
    return found


def differences(request: CreateUser, wanted: Wanted, organization: Organization | None, existing: User) -> list[str]:
    """The values given that the existing user does not have; what was not given is not compared."""
    different: list[str] = []
    if request.name is not None and wanted.name != existing.name:
        different.append("name")
    if request.plan is not None and wanted.plan is not existing.plan:
        different.append("plan")
    if organization is not None:
        membership = next((m for m in existing.organizations if m.organization_id == organization.id), None)
        if membership is None:
            different.append("organization")
        elif request.role is not None and membership.role is not wanted.role:
            different.append("role")
    return different


def unlike(request: CreateUser, wanted: Wanted, organization: Organization | None, unfinished: User) -> list[str]:
    """The values that an unfinished user does not have; plan, organization and role count given or not.

    Whoever finishes a creation may set the password, so it takes the rights of the command that began it, and
    those are what the gate and the row rules ask of the same options.
    """
    different = ["name"] if request.name is not None and wanted.name != unfinished.name else []
    if wanted.plan is not unfinished.plan:
        different.append("plan")
    roles = {m.organization_id: m.role for m in unfinished.organizations}
    if roles.keys() != ({organization.id} if organization else set[uuid.UUID]()):
        different.append("organization")
    elif organization is not None and roles[organization.id] is not wanted.role:
        different.append("role")
    return different


def differs(email: str, different: list[str], what: str) -> Conflict:
    """The error for values that are not those of who is there; `what` names them, with `{email}`."""
    return Conflict(
        "users.differs",
        f"{what.format(email=email)} exists already, with another {' and '.join(different)}",
        hint=f"look at it with `{command_line('users get', email)}`",
        details={"email": email, "different": different},
    )


def planned(
    backends: Backends,
    grant: Grant,
    organization: str | None,
    wanted: Wanted,
    user_id: uuid.UUID,
    state: UserState = UserState.ACTIVE,
) -> User:
    """What a dry run would have made; its transaction was rolled back."""
    from bazar_cli.adapters.postgres.orgs import organizations

    memberships: tuple[Membership, ...] = ()
    if organization is not None:
        with backends.database().read(grant) as connection:
            found = organizations.find(connection, grant.reach, organization)
        if found is None:
            raise organization_not_found(organization)
        memberships = (Membership(found.id, found.slug, wanted.role),)
    now = datetime.now(timezone.utc)
    return User(user_id, wanted.email, wanted.name, wanted.plan, state, None, False, memberships, now, now)
