"""`users create`: one user in two systems that share no transaction (docs/architecture.md).

The row with `pending create` is committed first; then the identity is created at Supabase with the row's
id; then the row is settled. Every step is idempotent, so that running the command again finishes it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bazar_cli.domain import doctor
from bazar_cli.domain.authz import row_rules
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.entities import Organization, Pending, Plan, Role, User
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.users import users as use_cases
from bazar_cli.domain.users.users import (
    CreatedUser,
    CreateUser,
    checked_hash,
    checked_name,
    checked_password,
    normalized_email,
)
from bazar_cli.services.users import leases
from bazar_cli.services.users.errors import user_not_found, user_pending
from bazar_cli.services.users.ids import time_ordered_uuid
from bazar_cli.services.users.invite import invite
from bazar_cli.services.users.passwords import generated_password
from bazar_cli.services.users.provision import (
    Begun,
    Wanted,
    at_supabase,
    finish_existing,
    provision,
    settle,
    unfinished,
)
from bazar_cli.services.users.values import differences, differs, organization_of, planned, unlike

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.users.users import LockedUser
    from bazar_cli.adapters.supabase.admin import AdminClient
    from bazar_cli.services.gate.backends import Backends


def create(backends: Backends, grant: Grant, request: CreateUser, *, chosen_id: uuid.UUID | None = None) -> CreatedUser:
    """Create a user in both systems, or finish what an earlier run of the same command began.

    Parameters: `chosen_id` is for a new user; an identity with it that bears this deployment's stamp and the address
    is theirs again.
    Raises: UsageError for a value that breaks a rule; NotFound for an unknown organization; Denied by the
    row rules; Conflict `users.email_exists`, `users.differs`, `users.email_at_supabase`, `users.email_differs`,
    `users.pending`, `users.taken_over` when it was held up for so long that another command went on with it;
    BackendUnavailable `users.create_unfinished` when the outcome at Supabase is unknown: run it again.
    """
    grant.demand(use_cases.CREATE)
    if chosen_id is not None:
        row_rules.may_choose_id(grant)
    wanted = _checked(request)
    admin = backends.admin(grant)

    def intent(connection: Connection, lease: uuid.UUID) -> Begun | User:
        return _begin(connection, grant, request, wanted, lease, chosen_id)

    with leases.claimed(backends, grant, intent) as begun:
        if isinstance(begun, User):
            return CreatedUser(begun, created=False)
        if grant.dry_run:
            _would_exist(backends, grant, admin, replace(wanted, plain=None), begun)
            foreseen = planned(backends, grant, request.organization, wanted, begun.id)
            return CreatedUser(foreseen, created=True, id_is_provisional=not begun.resumed, planned=True)
        with leases.begun(lambda silent: unfinished(wanted.email, begun, f"whether it has {wanted.email}", silent)):
            password_set = provision(backends, grant, admin, wanted, begun)
            invited = wanted.invite and invite(backends, grant, admin, wanted, begun, created_here=password_set)
            user = settle(backends, grant, admin, wanted, begun, created_here=password_set)
    shown = wanted.plain if wanted.generated and password_set else None
    kept = not password_set and (wanted.plain or wanted.bcrypt_hash) is not None
    return CreatedUser(user, created=True, password=shown, invited=invited, password_kept=kept)


def finish(backends: Backends, grant: Grant, user_id: uuid.UUID) -> bool:
    """Finish a creation whose command died, for `doctor --fix`: as running it again would, without a password.

    Returns whether the user has what the first run was to give: the identity was there, or an invitation goes
    out. One that is made here has no password, because nobody could be told of it. A creation that another
    command finished is left alone.

    Raises: as `create`; NotFound for a user who is gone; Conflict `users.busy` while a command is at it.
    """
    grant.demand(doctor.FIX)
    admin = backends.admin(grant)

    def intent(connection: Connection, lease: uuid.UUID) -> _TakenOver | None:
        return _take_over(connection, user_id, lease)

    with leases.claimed(backends, grant, intent) as begun:
        if begun is None:
            return True
        if grant.dry_run:
            return _would_exist(backends, grant, admin, begun.wanted, begun) or begun.wanted.invite
        with leases.begun(lambda silent: unfinished(begun.email, begun, f"whether it has {begun.email}", silent)):
            existed = admin.get(user_id) is not None
            created_here = provision(backends, grant, admin, begun.wanted, begun)
            if begun.wanted.invite:
                invite(backends, grant, admin, begun.wanted, begun, created_here=created_here)
            settle(backends, grant, admin, begun.wanted, begun, created_here=created_here)
    return existed or begun.wanted.invite


@dataclass(frozen=True, kw_only=True)
class _TakenOver(Begun):
    """A row that another command began, with what is known of its request."""

    wanted: Wanted


def _would_exist(backends: Backends, grant: Grant, admin: AdminClient, wanted: Wanted, begun: Begun) -> bool:
    """Whether the identity that a dry run would finish is there; raises what the real run would end with."""
    existing = admin.get(begun.id)
    if existing is not None:
        # Without a password it writes nothing, and what it takes back is what this lease holds: nothing here.
        finish_existing(backends, grant, admin, wanted, begun, existing)
    else:
        other = admin.find_by_email(wanted.email)
        if other is not None:
            raise at_supabase(backends, grant, wanted.email, other)
    return existing is not None


def _take_over(connection: Connection, user_id: uuid.UUID, lease: uuid.UUID) -> _TakenOver | None:
    from bazar_cli.adapters.postgres.users import changes, users

    held = users.lock_by_id(connection, user_id)
    if held is None:
        raise user_not_found(str(user_id))
    user, pending = held.user, held.user.pending
    if pending not in {Pending.CREATE, Pending.INVITE} or pending is None or held.adopted:
        return None
    if held.leased:
        raise leases.Busy(user.email)
    changes.take(connection, user_id, pending, lease)
    wanted = Wanted(
        email=user.email,
        name=user.name,
        plan=user.plan,
        role=Role.MEMBER,
        plain=None,
        bcrypt_hash=None,
        generated=False,
        invite=pending is Pending.INVITE,
    )
    return _TakenOver(
        id=user_id,
        email=user.email,
        pending=pending,
        lease=lease,
        deployment=users.deployment(connection),
        resumed=True,
        wanted=wanted,
    )


def _checked(request: CreateUser) -> Wanted:
    password = request.password
    plain = bcrypt_hash = None
    generated = False
    if password is not None and password.generate:
        plain, generated = generated_password(), True
    elif password is not None and password.plain is not None:
        plain = checked_password(password.plain)
    elif password is not None and password.bcrypt_hash is not None:
        bcrypt_hash = checked_hash(password.bcrypt_hash)
    if request.role is not None and request.organization is None:
        raise UsageError(
            "users.role_without_org",
            f"--role {request.role} says nothing without an organization",
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
    connection: Connection,
    grant: Grant,
    request: CreateUser,
    wanted: Wanted,
    lease: uuid.UUID,
    chosen_id: uuid.UUID | None,
) -> Begun | User:
    """Commit the intent, take over an unfinished one, or find the same user there."""
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.users import changes, users

    organization = organization_of(connection, grant, request.organization)
    row_rules.may_create_user(
        grant,
        organization.id if organization else None,
        organization.slug if organization else None,
        wanted.role,
    )
    deployment = users.deployment(connection)
    pending = Pending.INVITE if wanted.invite else Pending.CREATE
    held = users.lock_by_email(connection, wanted.email)
    if held is not None:
        if held.leased:
            raise leases.Busy(held.user.email)
        seen = users.find(connection, grant.reach, str(held.user.id))
        if held.user.pending is not pending or held.adopted or seen is None:
            return _existing_user(request, wanted, organization, held, seen)
        different = unlike(request, wanted, organization, held.user)
        if different:
            raise differs(wanted.email, different, "an unfinished user with the email {email}")
        changes.take(connection, held.user.id, pending, lease)
        return Begun(
            id=held.user.id, email=wanted.email, pending=pending, lease=lease, deployment=deployment, resumed=True
        )
    new = changes.NewUser(
        id=chosen_id or time_ordered_uuid(),
        email=wanted.email,
        name=wanted.name,
        plan=wanted.plan,
        organization_id=organization.id if organization else None,
        role=wanted.role,
        pending=pending,
    )
    changes.insert_pending(connection, new, lease)
    after: dict[str, object] = {"email": new.email, "name": new.name, "plan": new.plan.value}
    if organization is not None:
        after |= {"organization": organization.slug, "role": wanted.role.value}
    if wanted.invite:
        after["invited"] = True
    events.record(
        connection,
        grant,
        events.Change("user", new.id, organization.id if organization else None, after=after),
    )
    return Begun(id=new.id, email=wanted.email, pending=pending, lease=lease, deployment=deployment, resumed=False)


def _existing_user(
    request: CreateUser, wanted: Wanted, organization: Organization | None, held: LockedUser, seen: User | None
) -> User:
    """The complete user with this email, where --if-not-exists asks for no more than it is.

    Parameters: `seen` is the user as the operator may see it; of one out of reach only the address is told.
    """
    from bazar_cli.adapters.postgres.users import changes

    existing = held.user
    begun = existing.pending if existing.pending in {Pending.CREATE, Pending.INVITE} else None
    if seen is not None and begun is not None:
        # Begun in another way than this command would go on with it.
        raise user_pending(existing.email, begun, adopted=held.adopted)
    if not request.if_not_exists or seen is None:
        raise changes.email_taken(wanted.email)
    if existing.pending is not None:
        raise user_pending(existing.email, existing.pending, adopted=held.adopted)
    different = differences(request, wanted, organization, existing)
    if different:
        raise differs(wanted.email, different, "a user with the email {email}")
    return seen
