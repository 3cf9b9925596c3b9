"""`users create`: one user in both systems (`two_systems`).

The row is committed with `pending create`, or `pending invite`. Then the identity is created with the row's id, and the
invitation is mailed. Then the row is settled.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from bazar_cli.domain.authz import row_rules
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.entities import Organization, Pending, Plan, Role, User
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.users import changes as use_cases
from bazar_cli.domain.users.changes import CreatedUser, CreateUser
from bazar_cli.domain.users.values import (
    check_one_password,
    checked_hash,
    checked_name,
    checked_password,
    normalized_email,
)
from bazar_cli.services.users import intent, leases, new_user, two_systems
from bazar_cli.services.users.errors import user_pending
from bazar_cli.services.users.ids import time_ordered_uuid
from bazar_cli.services.users.new_identity import Creation
from bazar_cli.services.users.new_user import Wanted
from bazar_cli.services.users.operation import Systems
from bazar_cli.services.users.passwords import generated_password

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.users.users import LockedUser
    from bazar_cli.services.gate.backends import Backends


def create(backends: Backends, grant: Grant, request: CreateUser, *, chosen_id: uuid.UUID | None = None) -> CreatedUser:
    """Create a user in both systems, or finish what an earlier run of the same command began.

    Parameters: `chosen_id` is for a new user; an identity with it that bears this deployment's stamp and the address
    becomes theirs again.
    Raises: UsageError for a value that breaks a rule; NotFound for an unknown organization; Denied by the
    row rules; Conflict `users.email_exists`, `users.differs`, `users.email_at_supabase`, `users.email_differs`,
    `users.pending`, `users.taken_over` when it was held up for so long that another command went on with it;
    BackendUnavailable `users.create_unfinished` when the outcome at Supabase is unknown: run it again.
    """
    grant.demand(use_cases.CREATE)
    if chosen_id is not None:
        row_rules.may_choose_id(grant)
    wanted = _checked(request)
    systems = Systems.opened(backends, grant)

    with intent.begun(
        systems, lambda connection, lease: _begin(systems, connection, request, wanted, lease, chosen_id)
    ) as creation:
        if isinstance(creation, User):
            return CreatedUser(creation, created=False)
        if grant.dry_run:
            two_systems.foresee(creation)
            provisional = not creation.claim.resumed
            return CreatedUser(creation.user, created=True, id_is_provisional=provisional, planned=True)
        user = two_systems.complete(creation)
    shown = wanted.plain if wanted.generated and creation.password_set else None
    kept = not creation.password_set and (wanted.plain or wanted.bcrypt_hash) is not None
    return CreatedUser(user, created=True, password=shown, invited=creation.invited, password_kept=kept)


def _checked(request: CreateUser) -> Wanted:
    password = request.password
    plain = bcrypt_hash = None
    generated = False
    if password is not None:
        ways = password.plain is not None, password.bcrypt_hash is not None, password.generate, request.invite
        check_one_password(*ways)
    if password is not None and password.generate:
        plain, generated = generated_password(), True
    elif password is not None and password.plain is not None:
        plain = checked_password(password.plain)
    elif password is not None and password.bcrypt_hash is not None:
        bcrypt_hash = checked_hash(password.bcrypt_hash)
    if request.role is not None and request.organization is None:
        raise UsageError(
            "users.role_without_org",
            f"--role {request.role} needs an organization",
            hint="add --org ORG, or leave --role out",
        )
    return Wanted(
        email=normalized_email(request.email),
        name=checked_name(request.name),
        plan=request.plan or Plan.FREE,
        role=request.role or Role.MEMBER,
        plain=plain,
        bcrypt_hash=bcrypt_hash,
        generated=generated,
        invite=request.invite,
    )


# -- in Postgres ------------------------------------------------------------------------------------------


def _begin(
    systems: Systems,
    connection: Connection,
    request: CreateUser,
    wanted: Wanted,
    lease: uuid.UUID,
    chosen_id: uuid.UUID | None,
) -> Creation | User:
    """Commit the intent, take over an unfinished one, or find the same user there."""
    from bazar_cli.adapters.postgres.users import users

    grant = systems.grant
    organization = new_user.organization_of(connection, grant, request.organization)
    row_rules.may_create_user(grant, organization, wanted.role)
    held = users.lock_by_email(connection, wanted.email)
    if held is None:
        user_id = chosen_id or time_ordered_uuid()
        claim, user = new_user.insert(systems, connection, wanted, organization, user_id, lease)
        return Creation(systems=systems, claim=claim, user=user, wanted=wanted)
    if held.leased:
        raise leases.Busy(held.user.email)
    seen = users.find(connection, grant.reach, str(held.user.id))
    if held.user.pending is not wanted.pending or held.adopted or seen is None:
        return _existing_user(request, wanted, organization, held, seen)
    different = new_user.differences(request, wanted, organization, held.user, unfinished=True)
    if different:
        raise new_user.differs(wanted.email, different, "an unfinished user with the email {email}")
    claim = intent.take(connection, held, wanted.pending, lease)
    return Creation(systems=systems, claim=claim, user=replace(seen, pending=None), wanted=wanted)


def _existing_user(
    request: CreateUser, wanted: Wanted, organization: Organization | None, held: LockedUser, seen: User | None
) -> User:
    """Return the complete user with this email, if --if-not-exists asks for nothing else.

    Parameters: `seen` is the user as the operator may see it; of one out of reach only the address is named.
    """
    from bazar_cli.adapters.postgres.users import changes

    existing = held.user
    begun = existing.pending if existing.pending in {Pending.CREATE, Pending.INVITE} else None
    if seen is not None and begun is not None:
        # This command would continue it in another way than it was begun.
        raise user_pending(existing.email, begun, adopted=held.adopted)
    if not request.if_not_exists or seen is None:
        raise changes.email_taken(wanted.email)
    if existing.pending is not None:
        raise user_pending(existing.email, existing.pending)
    different = new_user.differences(request, wanted, organization, existing)
    if different:
        raise new_user.differs(wanted.email, different, "a user with the email {email}")
    return seen
