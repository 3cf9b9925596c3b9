"""`users adopt`: an identity that lives only at Supabase becomes a user, with the id it has (docs/architecture.md).

The row with `pending create` and the origin `adopted` is committed first; then the identity is stamped; then the row
is settled. Every step is idempotent. The identity was there before and is never deleted: what fails takes the row back.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from bazar_cli.domain import doctor
from bazar_cli.domain.authz import row_rules
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.entities import Pending, Plan, Role, User, UserState
from bazar_cli.domain.errors import BackendUnavailable, Conflict, NotFound, UsageError
from bazar_cli.domain.limits import first_limit
from bazar_cli.domain.users import users as use_cases
from bazar_cli.domain.users.identities import ADOPTED, CREATED, Failure, IdentityRefused, OutcomeUnknown, StoredIdentity
from bazar_cli.domain.users.users import AdoptedUser, AdoptUser, CreateUser, checked_name, normalized_email
from bazar_cli.services.users import agreement, leases
from bazar_cli.services.users.errors import same_address, user_not_found, user_pending
from bazar_cli.services.users.provision import Begun, Wanted, refused, undo
from bazar_cli.services.users.values import differences, differs, organization_of, planned

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.users.users import LockedUser
    from bazar_cli.adapters.supabase.admin import AdminClient
    from bazar_cli.services.gate.backends import Backends


def adopt(backends: Backends, grant: Grant, request: AdoptUser) -> AdoptedUser:
    """Take in the identity with an address, or finish what an earlier run of the same command began.

    An identity that is banned becomes a suspended user, and its ban lasts as that of `users suspend` does: one that
    ended by itself would let in at Supabase who is suspended here. One that is a user here already, with the values
    given, stays as it is.
    Raises: UsageError for a value that breaks a rule; NotFound `users.identity_not_found`, `orgs.not_found`;
    Conflict `users.other_deployment`, `users.identity_deleted`, `users.identity_differs`, `users.identity_missing`,
    `users.email_differs`, `users.differs`, `users.pending`, `users.taken_over`; BackendUnavailable
    `users.adopt_unfinished` when the outcome at Supabase is unknown: run it again.
    """
    grant.demand(use_cases.ADOPT)
    wanted = _wanted(normalized_email(request.email), checked_name(request.name))
    admin = backends.admin(grant)
    identity = admin.find_by_email(wanted.email)

    def intent(connection: Connection, lease: uuid.UUID) -> Begun | User:
        return _begin(connection, grant, request, wanted, identity, lease)

    with leases.claimed(backends, grant, intent) as begun:
        if isinstance(begun, User):
            return AdoptedUser(begun, adopted=False, confirmed=identity is None or identity.is_confirmed)
        if grant.dry_run:
            found = _fit(admin.get(begun.id), wanted.email, begun)
            user = planned(backends, grant, request.organization, wanted, begun.id, _state_of(found))
            return AdoptedUser(user, adopted=True, confirmed=found.is_confirmed, ban_ended=_end_of_ban(found))
        with leases.begun(lambda silent: _unfinished(begun.email, begun, silent)):
            return _complete(backends, grant, admin, begun)


def finish(backends: Backends, grant: Grant, user_id: uuid.UUID) -> str:
    """Finish an adoption whose command died, for `doctor --fix`; one that another command finished is left alone.

    Returns what is to be known of it.
    Raises: as `adopt`; NotFound `users.not_found` for a user who is gone; Conflict `users.busy`.
    """
    grant.demand(doctor.FIX)
    admin = backends.admin(grant)

    def intent(connection: Connection, lease: uuid.UUID) -> Begun | None:
        return _take_over(connection, user_id, lease)

    with leases.claimed(backends, grant, intent) as begun:
        if begun is None:
            return ""
        if grant.dry_run:
            ended = _end_of_ban(_fit(admin.get(user_id), begun.email, begun))
        else:
            with leases.begun(lambda silent: _unfinished(begun.email, begun, silent)):
                ended = _complete(backends, grant, admin, begun).ban_ended
    return "" if ended is None else f"banned for good, where the ban would have ended at {ended.isoformat()}"


def _wanted(email: str, name: str | None) -> Wanted:
    return Wanted(email, name, Plan.FREE, Role.MEMBER, plain=None, bcrypt_hash=None, generated=False)


# -- in Postgres ------------------------------------------------------------------------------------------


def _begin(
    connection: Connection,
    grant: Grant,
    request: AdoptUser,
    wanted: Wanted,
    identity: StoredIdentity | None,
    lease: uuid.UUID,
) -> Begun | User:
    """Commit the intent, take over an unfinished one, or find the same user there."""
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.users import changes, users

    organization = organization_of(connection, grant, request.organization)
    where = (organization.id, organization.slug) if organization else (None, None)
    row_rules.may_create_user(grant, *where, wanted.role)
    deployment = users.deployment(connection)
    held = users.lock_by_email(connection, wanted.email)
    if held is not None:
        if held.leased:
            raise leases.Busy(held.user.email)
        asked = CreateUser(wanted.email, name=request.name, organization=request.organization)
        different = differences(asked, wanted, organization, held.user)
        if not _is_unfinished(held):
            return _existing_user(held, identity, different)
        if different:
            raise differs(wanted.email, different, "an unfinished user with the email {email}")
        changes.take(connection, held.user.id, Pending.CREATE, lease)
        return Begun(
            id=held.user.id, email=wanted.email, lease=lease, deployment=deployment, adopted=True, resumed=True
        )
    if identity is None:
        raise _not_found(wanted.email)
    _refuse_unfit(identity, wanted.email, deployment)
    other = users.lock_by_id(connection, identity.id)
    if other is not None:
        raise (
            leases.Busy(other.user.email)
            if other.leased
            else _another_address(identity, other.user.email, same_address(other.user.email))
        )
    state = _state_of(identity)
    new = changes.NewUser(
        id=identity.id,
        email=wanted.email,
        name=wanted.name,
        plan=wanted.plan,
        organization_id=organization.id if organization else None,
        role=wanted.role,
        state=state,
        adopted=True,
    )
    changes.insert_pending(connection, new, lease)
    after: dict[str, object] = {"email": new.email, "name": new.name, "plan": new.plan.value, "state": state.value}
    if organization is not None:
        after |= {"organization": organization.slug, "role": wanted.role.value}
    change = events.Change("user", new.id, organization.id if organization else None, after=after)
    events.record(connection, grant, change)
    return Begun(id=new.id, email=wanted.email, lease=lease, deployment=deployment, adopted=True, resumed=False)


def _is_unfinished(held: LockedUser) -> bool:
    return held.adopted and held.user.pending is Pending.CREATE


def _existing_user(held: LockedUser, identity: StoredIdentity | None, different: list[str]) -> User:
    """The user who is there with this email, where it is the identity's and has the values given."""
    user = held.user
    if user.pending is not None:
        raise user_pending(user.email, user.pending, adopted=held.adopted)
    if identity is None:
        raise Conflict(
            "users.identity_missing",
            f"{user.email} is a user of this Bazar, and no identity at Supabase has the address",
            hint="compare both systems with `bazar doctor`",
            details={"user_id": str(user.id), "email": user.email},
        )
    if identity.id != user.id:
        raise Conflict(
            "users.identity_differs",
            f"{user.email} is a user of this Bazar with another id than the identity at Supabase has",
            hint="compare both systems with `bazar doctor`, then delete the one that is not wanted",
            details={"user_id": str(user.id), "identity_id": str(identity.id), "email": user.email},
        )
    if different:
        raise differs(user.email, different, "a user with the email {email}")
    return user


def _take_over(connection: Connection, user_id: uuid.UUID, lease: uuid.UUID) -> Begun | None:
    from bazar_cli.adapters.postgres.users import changes, users

    held = users.lock_by_id(connection, user_id)
    if held is None:
        raise user_not_found(str(user_id))
    if not _is_unfinished(held):
        return None
    if held.leased:
        raise leases.Busy(held.user.email)
    changes.take(connection, user_id, Pending.CREATE, lease)
    deployment, email = users.deployment(connection), held.user.email
    return Begun(id=user_id, email=email, lease=lease, deployment=deployment, adopted=True, resumed=True)


# -- at Supabase ------------------------------------------------------------------------------------------


def _complete(backends: Backends, grant: Grant, admin: AdminClient, begun: Begun) -> AdoptedUser:
    """Stamp the identity and settle the row; take the row back where there is nobody to adopt."""
    email, existing = begun.email, admin.get(begun.id)
    try:
        identity = _fit(existing, email, begun)
        leases.keep(backends, grant, begun)
        state, ban_ended, origin = _state_of(identity), _end_of_ban(identity), _origin_of(identity, begun)
        _stamp(admin, email, begun, origin, ban=ban_ended is not None)
    except (NotFound, Conflict, UsageError) as error:
        # A refusal did nothing. What bears the stamp already is this Bazar's, so that its row stays.
        if existing is None or existing.deployment != begun.deployment:
            undo(backends, grant, email, begun, error)
        raise
    user = _settle(backends, grant, admin, email, begun, state, origin, banned=ban_ended is not None)
    return AdoptedUser(user, adopted=True, confirmed=identity.is_confirmed, ban_ended=ban_ended)


def _fit(identity: StoredIdentity | None, email: str, begun: Begun) -> StoredIdentity:
    if identity is None:
        raise _vanished(email)
    _refuse_unfit(identity, email, begun.deployment)
    return identity


def _refuse_unfit(identity: StoredIdentity, email: str, deployment: uuid.UUID) -> None:
    if identity.is_deleted:
        raise Conflict(
            "users.identity_deleted",
            f"the identity of {email} was deleted at Supabase, which keeps its id and lets nobody in",
            hint="delete it there for good, then create the user",
            details={"identity_id": str(identity.id), "email": email},
        )
    if identity.deployment not in {None, deployment}:
        raise Conflict(
            "users.other_deployment",
            f"{email} belongs to another Bazar, the deployment {identity.deployment}",
            hint="let that one delete the user first, or check which target you use with `bazar config show`",
            details={"identity_id": str(identity.id), "email": email, "deployment": str(identity.deployment)},
        )
    if identity.email != email:
        there = (
            f"`{command_line('users adopt', identity.email)}`" if identity.email else "one by which it can be adopted"
        )
        raise _another_address(
            identity, email, f"change it back there and run the command again, or take it in as {there}"
        )


def _stamp(admin: AdminClient, email: str, begun: Begun, origin: str, *, ban: bool) -> None:
    """Stamp the identity, and with `ban` let its ban last, in one request."""
    try:
        admin.stamp(begun.id, begun.deployment, origin, ban=ban)
    except IdentityRefused as refusal:
        raise _vanished(email) if refusal.not_found else refused(email, refusal) from refusal
    except OutcomeUnknown as unknown:
        try:
            found = admin.get(begun.id)
        except BackendUnavailable as silent:
            raise _unfinished(email, begun, unknown, silent) from silent
        if found is None or found.deployment != begun.deployment or (ban and _end_of_ban(found) is not None):
            raise _unfinished(email, begun, unknown) from unknown


def _settle(
    backends: Backends,
    grant: Grant,
    admin: AdminClient,
    email: str,
    begun: Begun,
    state: UserState,
    origin: str,
    *,
    banned: bool,
) -> User:
    """Clear `pending`. Where the lease ran out, another command may have gone on with the row: it decides.

    Parameters: `banned` says that this command banned the identity, which may have been restored by then.
    """
    from bazar_cli.adapters.postgres.users import changes, users

    with backends.database().transaction(grant, finishing=True) as connection:
        # Somebody may have banned the identity, or lifted its ban, since the intent was committed.
        changes.write_adopted(connection, begun.id, begun.lease, state, origin)
        settled = changes.settle(connection, begun.id, Pending.CREATE, begun.lease)
        user = users.find(connection, grant.reach, str(begun.id))
    if user is None:
        # Deleted meanwhile: a stamp that came after that would be nobody's.
        try:
            admin.unstamp(begun.id)
        except (IdentityRefused, OutcomeUnknown) as error:
            raise _unfinished(email, begun, error) from error
        raise leases.taken_over(email, "deleted the user")
    if not settled and user.pending is not None:
        raise leases.taken_over(email, "is in the middle of a change of the user")
    if not settled and banned:
        agreement.set_right(backends, grant, admin, begun)
    return user


def _state_of(identity: StoredIdentity) -> UserState:
    return UserState.SUSPENDED if identity.is_banned(datetime.now(timezone.utc)) else UserState.ACTIVE


def _origin_of(identity: StoredIdentity, begun: Begun) -> str:
    """Return the origin to stamp: an identity that this deployment created stays one, as after `db reset`."""
    ours = identity.deployment == begun.deployment
    return CREATED if ours and identity.origin == CREATED else ADOPTED


def _end_of_ban(identity: StoredIdentity) -> datetime | None:
    """When the ban ends that is to last; None for one that lasts, or none."""
    now = datetime.now(timezone.utc)
    return identity.banned_until if identity.is_banned(now) and not identity.is_banned_for_good(now) else None


def _not_found(email: str) -> NotFound:
    return NotFound(
        "users.identity_not_found",
        f"no identity at Supabase has the address {email}",
        hint="check the address, or create the user with `bazar users create`",
        details={"email": email},
    )


def _vanished(email: str) -> NotFound:
    return NotFound(
        "users.identity_not_found",
        f"the identity of {email} is no longer at Supabase",
        hint="create the user with `bazar users create`; adopt again if another identity has the address by now",
        details={"email": email},
    )


def _another_address(identity: StoredIdentity, email: str, hint: str) -> Conflict:
    return Conflict(
        "users.email_differs",
        f"the identity of {email} has the address {identity.email} at Supabase",
        hint=hint,
        details={"user_id": str(identity.id), "email": email, "supabase_email": identity.email},
    )


def _unfinished(email: str, begun: Begun, unknown: Failure, *looks: BackendUnavailable) -> BackendUnavailable:
    return BackendUnavailable(
        "users.adopt_unfinished",
        f"Supabase Auth did not say whether it wrote the stamp of this Bazar on {email}: {unknown}",
        hint=leases.advice(begun, unknown),
        details={"user_id": str(begun.id), "email": email},
        limit=first_limit(unknown.limit, *(look.limit for look in looks)),
    )
