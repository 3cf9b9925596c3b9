"""`users create`: one user in two systems that share no transaction (design section 4).

The row with `pending create` is committed first; then the identity is created at Supabase with the row's
id; then the row is settled. Every step is idempotent, so that running the command again finishes it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from shlex import quote
from typing import TYPE_CHECKING

from bazar_cli.domain import doctor, scope
from bazar_cli.domain import users as use_cases
from bazar_cli.domain.access import Grant, Membership, Pending, Role, UserState
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, UsageError
from bazar_cli.domain.identities import IdentityRefused, NewIdentity, OutcomeUnknown, StoredIdentity
from bazar_cli.domain.orgs import Organization
from bazar_cli.domain.permissions import Plan
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.users import (
    CreatedUser,
    CreateUser,
    User,
    checked_hash,
    checked_name,
    checked_password,
    normalized_email,
)
from bazar_cli.services import leases
from bazar_cli.services.ids import time_ordered_uuid
from bazar_cli.services.interrupts import step_in_hand
from bazar_cli.services.lookups import organization_not_found, user_not_found, user_pending
from bazar_cli.services.passwords import generated_password, hash_of_no_password

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.supabase.admin import AdminClient
    from bazar_cli.services.system import System

_ORIGIN = "created"


@dataclass(frozen=True)
class _Wanted:
    """The request with every value checked."""

    email: str
    name: str | None
    plan: Plan
    role: Role
    plain: Secret | None
    bcrypt_hash: Secret | None
    generated: bool


@dataclass(frozen=True)
class _Begun:
    """A row that this command holds, and how its identity is to be stamped."""

    id: uuid.UUID
    lease: uuid.UUID
    deployment: uuid.UUID
    resumed: bool
    since: leases.Since = field(default_factory=leases.Since)
    """When the lease was taken: a process may be stopped, or its machine asleep, for longer than it lasts."""


def create(system: System, grant: Grant, request: CreateUser) -> CreatedUser:
    """Create a user in both systems, or finish what an earlier run of the same command began.

    Raises: UsageError for a value that breaks a rule; NotFound for an unknown organization; Denied by the
    row rules; Conflict `users.email_exists`, `users.differs`, `users.email_at_supabase`, `users.email_differs`,
    `users.pending`, `users.taken_over` when it was held up for so long that another command went on with it;
    BackendUnavailable `users.create_unfinished` when the outcome at Supabase is unknown: run it again.
    """
    grant.demand(use_cases.CREATE)
    wanted = _checked(request)
    admin = system.admin(grant)
    lease = uuid.uuid4()
    with step_in_hand() as begin_step:

        def intent(connection: Connection) -> _Begun | User:
            begun = _begin(connection, grant, request, wanted, lease)
            begin_step()
            return begun

        begun = leases.when_free(intent, system, grant)
        if isinstance(begun, User):
            return CreatedUser(begun, created=False)
        if grant.dry_run:
            if admin.find_by_email(wanted.email) is not None and not begun.resumed:
                raise _only_at_supabase(wanted.email)
            return CreatedUser(_planned(system, grant, request, wanted, begun), created=True)
        try:
            password_set = _provision(system, grant, admin, wanted, begun)
            user = _settle(system, grant, admin, wanted, begun, created_here=password_set)
        finally:
            leases.give_back(system, grant, begun.id, begun.lease)
    shown = wanted.plain if wanted.generated and password_set else None
    return CreatedUser(user, created=True, password=shown)


def finish(system: System, grant: Grant, user_id: uuid.UUID) -> bool:
    """Finish a creation whose command died, for `doctor --fix`: as running it again would, without a password.

    Returns whether the identity was there, and so has what the first run gave it. One that is made here has
    no password, because nobody could be told of it. A creation that another command finished is left alone.

    Raises: as `create`; NotFound for a user who is gone; Conflict `users.busy` while a command is at it.
    """
    grant.demand(doctor.FIX)
    admin = system.admin(grant)
    lease = uuid.uuid4()
    with step_in_hand() as begin_step:

        def intent(connection: Connection) -> tuple[_Wanted, _Begun] | None:
            taken = _take_over(connection, user_id, lease)
            begin_step()
            return taken

        taken = leases.when_free(intent, system, grant)
        if taken is None:
            return True
        wanted, begun = taken
        if grant.dry_run:
            return _would_exist(system, grant, admin, wanted, begun)
        try:
            existed = admin.get(user_id) is not None
            created_here = _provision(system, grant, admin, wanted, begun)
            _settle(system, grant, admin, wanted, begun, created_here=created_here)
        finally:
            leases.give_back(system, grant, begun.id, begun.lease)
    return existed


def _would_exist(system: System, grant: Grant, admin: AdminClient, wanted: _Wanted, begun: _Begun) -> bool:
    """Whether the identity that a dry run would finish is there; raises what the real run would end with."""
    existing = admin.get(begun.id)
    if existing is not None:
        # Without a password it writes nothing, and what it takes back is what this lease holds: nothing here.
        _finish_existing(system, grant, admin, wanted, begun, existing)
    elif admin.find_by_email(wanted.email) is not None:
        raise _only_at_supabase(wanted.email)
    return existing is not None


def _take_over(connection: Connection, user_id: uuid.UUID, lease: uuid.UUID) -> tuple[_Wanted, _Begun] | None:
    from bazar_cli.adapters.postgres import users

    held = users.hold_id(connection, user_id)
    if held is None:
        raise user_not_found(str(user_id))
    if held.user.pending is not Pending.CREATE:
        return None
    if held.leased:
        raise leases.Busy(held.user.email)
    users.take(connection, user_id, Pending.CREATE, lease)
    user = held.user
    wanted = _Wanted(user.email, user.name, user.plan, Role.MEMBER, plain=None, bcrypt_hash=None, generated=False)
    return wanted, _Begun(user_id, lease, users.deployment(connection), resumed=True)


def _checked(request: CreateUser) -> _Wanted:
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
    return _Wanted(
        email=normalized_email(request.email),
        name=checked_name(request.name),
        plan=request.plan or Plan.FREE,
        role=request.role or Role.MEMBER,
        plain=plain,
        bcrypt_hash=bcrypt_hash,
        generated=generated,
    )


# -- in Postgres ------------------------------------------------------------------------------------------


def _begin(
    connection: Connection, grant: Grant, request: CreateUser, wanted: _Wanted, lease: uuid.UUID
) -> _Begun | User:
    """Commit the intent, take over an unfinished one, or find the same user there."""
    from bazar_cli.adapters.postgres import audit, users

    organization = _organization(connection, grant, request)
    scope.may_create_user(
        grant,
        organization.id if organization else None,
        organization.slug if organization else None,
        wanted.role,
    )
    deployment = users.deployment(connection)
    held = users.hold_email(connection, wanted.email)
    if held is not None:
        if held.leased:
            raise leases.Busy(held.user.email)
        seen = users.find(connection, grant.reach, str(held.user.id))
        if held.user.pending is not Pending.CREATE or seen is None:
            return _same(request, wanted, organization, held.user, seen)
        different = _unlike(request, wanted, organization, held.user)
        if different:
            raise _differs(wanted.email, different, "an unfinished user with the email {email}")
        users.take(connection, held.user.id, Pending.CREATE, lease)
        return _Begun(held.user.id, lease, deployment, resumed=True)
    new = users.NewUser(
        id=time_ordered_uuid(),
        email=wanted.email,
        name=wanted.name,
        plan=wanted.plan,
        organization_id=organization.id if organization else None,
        role=wanted.role,
    )
    users.insert_pending(connection, new, lease)
    after: dict[str, object] = {"email": new.email, "name": new.name, "plan": new.plan.value}
    if organization is not None:
        after |= {"organization": organization.slug, "role": wanted.role.value}
    audit.record(
        connection,
        grant,
        audit.Change("user", new.id, organization.id if organization else None, after=after),
    )
    return _Begun(new.id, lease, deployment, resumed=False)


def _organization(connection: Connection, grant: Grant, request: CreateUser) -> Organization | None:
    from bazar_cli.adapters.postgres import organizations

    if request.organization is None:
        return None
    found = organizations.hold(connection, grant.reach, request.organization)
    if found is None:
        raise organization_not_found(request.organization)
    return found


def _same(
    request: CreateUser, wanted: _Wanted, organization: Organization | None, existing: User, seen: User | None
) -> User:
    """The complete user with this email, where --if-not-exists asks for no more than it is.

    Parameters: `seen` is the user as the operator may see it; of one out of reach only the address is told.
    """
    from bazar_cli.adapters.postgres import users

    if not request.if_not_exists or seen is None:
        raise users.email_taken(wanted.email)
    if existing.pending is not None:
        raise user_pending(existing.email, existing.pending)
    different = _differences(request, wanted, organization, existing)
    if different:
        raise _differs(wanted.email, different, "a user with the email {email}")
    return seen


def _differences(request: CreateUser, wanted: _Wanted, organization: Organization | None, existing: User) -> list[str]:
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


def _unlike(request: CreateUser, wanted: _Wanted, organization: Organization | None, unfinished: User) -> list[str]:
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


def _differs(email: str, different: list[str], what: str) -> Conflict:
    return Conflict(
        "users.differs",
        f"{what.format(email=email)} exists already, with another {' and '.join(different)}",
        hint=f"look at it with `bazar users get {quote(email)}`",
        details={"email": email, "different": different},
    )


def _settle(
    system: System, grant: Grant, admin: AdminClient, wanted: _Wanted, begun: _Begun, *, created_here: bool
) -> User:
    """Clear `pending`. Where the lease ran out, another command may have gone on with the row: it decides."""
    from bazar_cli.adapters.postgres import users

    with system.database().transaction(grant, finishing=True) as connection:
        settled = users.settle(connection, begun.id, Pending.CREATE, begun.lease)
        user = users.find(connection, grant.reach, str(begun.id))
    if user is None:
        # Deleted meanwhile: the identity that this command made after that would be nobody's.
        if created_here:
            try:
                admin.delete(begun.id)
            except (IdentityRefused, OutcomeUnknown) as error:
                what = f"whether it took back the identity of {wanted.email}, deleted meanwhile: {error}"
                raise _unfinished(wanted.email, begun, what) from error
        raise _taken_over(wanted.email, "deleted the user")
    if not settled and user.pending is not None:
        raise _taken_over(wanted.email, "is in the middle of a change of the user")
    if not settled and (wanted.plain is not None or wanted.bcrypt_hash is not None):
        raise _taken_over(wanted.email, "finished the user, perhaps with another password")
    return user


def _taken_over(email: str, what: str) -> Conflict:
    return Conflict(
        "users.taken_over",
        f"this command was held up, and meanwhile another one {what} ({email})",
        hint=f"look at the user with `bazar users get {quote(email)}`, then decide",
        details={"email": email},
    )


def _keep(system: System, grant: Grant, email: str, begun: _Begun) -> None:
    """Make sure, before Supabase is asked to write, that the lease outlasts the call.

    Raises: Conflict `users.taken_over` when another command has gone on with the row.
    """
    if begun.since.allows_a_call():
        return
    from bazar_cli.adapters.postgres import users

    with system.database().transaction(grant, finishing=True) as connection:
        kept = users.renew(connection, begun.id, Pending.CREATE, begun.lease)
    if not kept:
        raise _taken_over(email, "went on with the user")


def _undo(system: System, grant: Grant, email: str, begun: _Begun, why: BazarError) -> None:
    from bazar_cli.adapters.postgres import audit, users

    with system.database().transaction(grant, finishing=True) as connection:
        if users.remove(connection, begun.id, Pending.CREATE, begun.lease):
            audit.record(
                connection,
                grant,
                audit.Change("user", begun.id, before={"email": email}, reason=why.message, outcome="undone"),
            )


def _planned(system: System, grant: Grant, request: CreateUser, wanted: _Wanted, begun: _Begun) -> User:
    """What a dry run would have created; its transaction was rolled back."""
    from bazar_cli.adapters.postgres import organizations

    memberships: tuple[Membership, ...] = ()
    if request.organization is not None:
        with system.database().read(grant) as connection:
            found = organizations.find(connection, grant.reach, request.organization)
        if found is None:
            raise organization_not_found(request.organization)
        memberships = (Membership(found.id, found.slug, wanted.role),)
    now = datetime.now(timezone.utc)
    return User(begun.id, wanted.email, wanted.name, wanted.plan, UserState.ACTIVE, None, False, memberships, now, now)


# -- at Supabase ------------------------------------------------------------------------------------------


def _provision(system: System, grant: Grant, admin: AdminClient, wanted: _Wanted, begun: _Begun) -> bool:
    """Make the identity exist; return whether it has the password that was asked for.

    Raises: what `create` raises; the row is gone again where nothing exists at Supabase.
    """
    if begun.resumed:
        existing = admin.get(begun.id)
        if existing is not None:
            return _finish_existing(system, grant, admin, wanted, begun, existing)
    _keep(system, grant, wanted.email, begun)
    identity = NewIdentity(
        id=begun.id,
        email=wanted.email,
        deployment=begun.deployment,
        origin=_ORIGIN,
        password=wanted.plain,
        password_hash=None if wanted.plain else wanted.bcrypt_hash or hash_of_no_password(),
    )
    try:
        admin.create(identity)
    except IdentityRefused as refusal:
        # A refusal for want of a valid key did nothing, and a look-up would be refused as well.
        existing = None if refusal.status in {401, 403} and not begun.resumed else admin.get(begun.id)
        if existing is not None:
            # Refused, and yet there: another command made it, so it has no password of this one, and is that
            # one's to give unless the lease is still this one's.
            suspect = replace(begun, resumed=True, since=leases.Since(long_ago=True))
            return _finish_existing(system, grant, admin, wanted, suspect, existing)
        error = _refused(wanted.email, refusal)
        _undo(system, grant, wanted.email, begun, error)
        raise error from refusal
    except OutcomeUnknown as unknown:
        return _find_out(system, grant, admin, wanted, begun, unknown)
    return True


def _find_out(
    system: System, grant: Grant, admin: AdminClient, wanted: _Wanted, begun: _Begun, unknown: OutcomeUnknown
) -> bool:
    """After a 5xx or a timeout: ours was created, the address or id is taken, or nobody knows yet."""
    try:
        existing = admin.get(begun.id)
        stranger = admin.find_by_email(wanted.email) if existing is None else None
    except BackendUnavailable as silent:
        raise _unfinished(wanted.email, begun, f"whether it created {wanted.email}: {unknown}") from silent
    if existing is not None:
        return _finish_existing(system, grant, admin, wanted, begun, existing)
    if stranger is not None and stranger.id == begun.id:
        return _finish_existing(system, grant, admin, wanted, begun, stranger)
    if stranger is not None:
        error = _only_at_supabase(wanted.email)
        _undo(system, grant, wanted.email, begun, error)
        raise error from unknown
    raise _unfinished(wanted.email, begun, f"whether it created {wanted.email}: {unknown}") from unknown


def _finish_existing(
    system: System,
    grant: Grant,
    admin: AdminClient,
    wanted: _Wanted,
    begun: _Begun,
    existing: StoredIdentity,
) -> bool:
    """Take an identity with our id for ours, and give it the password unless it signed in before.

    A hash stays as the first run sent it, because Supabase ignores one in an update.
    """
    ours = existing.deployment == begun.deployment and not existing.is_deleted
    if ours and existing.email != wanted.email:
        raise Conflict(
            "users.email_differs",
            f"the identity of {wanted.email} has the address {existing.email} at Supabase",
            hint=f"change it back there, or delete both: `bazar users delete {quote(wanted.email)}`",
            details={"user_id": str(begun.id), "email": wanted.email, "supabase_email": existing.email},
        )
    if not ours:
        error = Conflict(
            "users.id_taken",
            f"another identity at Supabase holds the id chosen for {wanted.email}",
            hint="run the command again: it chooses a new id",
            details={"user_id": str(begun.id)},
        )
        _undo(system, grant, wanted.email, begun, error)
        raise error
    if wanted.plain is None or existing.has_signed_in:
        return False
    if begun.resumed:
        _keep(system, grant, wanted.email, begun)
        try:
            admin.set_password(begun.id, wanted.plain)
        except IdentityRefused as refusal:
            raise _refused(wanted.email, refusal) from refusal
        except OutcomeUnknown as unknown:
            what = f"whether it set the password of {wanted.email}: {unknown}"
            raise _unfinished(wanted.email, begun, what) from unknown
    return True


def _unfinished(email: str, begun: _Begun, unsaid: str) -> BackendUnavailable:
    return BackendUnavailable(
        "users.create_unfinished",
        f"Supabase Auth did not say {unsaid}",
        hint="run the same command again: it goes on where this one stopped",
        details={"user_id": str(begun.id), "email": email},
    )


def _refused(email: str, refusal: IdentityRefused) -> BazarError:
    if refusal.code == "email_exists":
        return _only_at_supabase(email)
    if refusal.status in {401, 403}:
        from bazar_cli.adapters.supabase.http import key_refused

        return key_refused(refusal.message, {"status": refusal.status, "supabase_code": refusal.code})
    return UsageError(
        "users.refused_by_supabase",
        f"Supabase Auth refused {email}: {refusal.message}",
        hint="correct the value and run the command again",
        details={"status": refusal.status, "supabase_code": refusal.code},
    )


def _only_at_supabase(email: str) -> Conflict:
    return Conflict(
        "users.email_at_supabase",
        f"{email} has an identity at Supabase that is no user of this Bazar",
        hint="use another address, or ask a superuser to take the identity in",
        details={"email": email},
    )
