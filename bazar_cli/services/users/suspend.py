"""`users suspend` and `users restore`: a state that both systems must agree on (docs/architecture.md).

The state that is wanted is committed first, with the one audit event; then Supabase bans, or lifts the ban; then
the row is settled, and the sessions are ended where the Auth database is proven readable.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from bazar_cli.domain import doctor
from bazar_cli.domain.authz import row_rules
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.consent import Impact
from bazar_cli.domain.entities import Pending, User, UserState
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict
from bazar_cli.domain.users import users as use_cases
from bazar_cli.domain.users.identities import BAN, IdentityRefused, OutcomeUnknown, StoredIdentity, end_of_tokens
from bazar_cli.domain.users.users import RestoredUser, RestoreUser, SuspendedUser, SuspendUser, checked_reason
from bazar_cli.services import invariants
from bazar_cli.services.users import agreement, identity_of, leases
from bazar_cli.services.users.errors import user_not_found

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.users.users import LockedUser
    from bazar_cli.adapters.supabase.admin import AdminClient
    from bazar_cli.services.gate.backends import Backends

_KINDS = frozenset({Pending.SUSPEND, Pending.RESTORE})


@dataclass(frozen=True, kw_only=True)
class _Claim(leases.Claim):
    """A user to be banned or let in again, as the operator may see them."""

    user: User
    addresses: frozenset[str]


def suspend(backends: Backends, grant: Grant, request: SuspendUser) -> SuspendedUser | Impact:
    """Suspend a user, or finish what an earlier run began; one who is suspended and banned already is left as they are.

    Whoever is suspended and not banned, because somebody lifted the ban at Supabase, is banned again.
    Returns the impact, and writes nothing, until it was agreed to.
    Raises: UsageError `users.reason_invalid`; NotFound; Denied by the row rules; Conflict `users.last_superuser`,
    `users.last_owner`, `users.pending`, `users.busy`, `users.ban_refused`, `users.taken_over`; BackendUnavailable
    `users.suspend_unfinished` when the outcome at Supabase is unknown.
    """
    grant.demand(use_cases.SUSPEND)
    checked = replace(request, reason=checked_reason(request.reason))
    admin = backends.admin(grant)

    found = _suspend(backends, grant, admin, checked)
    if isinstance(found, SuspendedUser) and not found.changed and _lacks_ban(admin.get(found.user.id)):
        return _suspend(backends, grant, admin, checked, drifted=True)
    return found


def _suspend(
    backends: Backends, grant: Grant, admin: AdminClient, request: SuspendUser, *, drifted: bool = False
) -> SuspendedUser | Impact:
    def intent(connection: Connection, lease: uuid.UUID) -> _Claim | User | Impact:
        return _begin_suspension(connection, grant, request, lease, drifted=drifted)

    with leases.claimed(backends, grant, intent) as claim:
        if isinstance(claim, Impact):
            return claim
        if isinstance(claim, User):
            return SuspendedUser(claim, changed=False)
        if grant.dry_run:
            return replace(_suspended(grant, claim.user, admin.get(claim.id), None), resumed=claim.resumed)
        return replace(_finish_suspension(backends, grant, admin, claim), resumed=claim.resumed)


def restore(backends: Backends, grant: Grant, request: RestoreUser) -> RestoredUser:
    """Let a suspended user in again, or one whose deletion was begun and whose identity Supabase still has.

    Whoever is active and banned, because somebody banned them at Supabase, is let in there again.
    Raises: NotFound; Denied by the row rules; Conflict `users.pending`, `users.busy`, `users.ban_refused`,
    `users.identity_gone` when there is nothing left of a deletion to take back, `users.taken_over`;
    BackendUnavailable `users.restore_unfinished` when the outcome at Supabase is unknown.
    """
    grant.demand(use_cases.RESTORE)
    admin = backends.admin(grant)

    found = _restore(backends, grant, admin, request)
    if not found.changed and _bears_ban(admin.get(found.user.id)):
        return _restore(backends, grant, admin, request, drifted=True)
    return found


def _restore(
    backends: Backends, grant: Grant, admin: AdminClient, request: RestoreUser, *, drifted: bool = False
) -> RestoredUser:
    def intent(connection: Connection, lease: uuid.UUID) -> _Claim | User:
        return _begin_restoring(connection, grant, request, lease, drifted=drifted)

    with leases.claimed(backends, grant, intent) as claim:
        if isinstance(claim, User):
            return RestoredUser(claim, changed=False)
        if claim.pending is Pending.DELETE:
            claim = _cancel_deletion(backends, grant, admin, claim)
        if grant.dry_run:
            return RestoredUser(claim.user, changed=True, has_identity=_is_there(admin.get(claim.id)))
        identity = _ask(backends, grant, admin, claim)
        user, _ = agreement.settle(backends, grant, admin, claim, _nothing_more)
        return RestoredUser(user, changed=True, has_identity=_is_there(identity))


def finish(backends: Backends, grant: Grant, user_id: uuid.UUID) -> str:
    """Finish a suspension or its end whose command died, for `doctor --fix`; return what is to be known of it.

    Raises: as `suspend` and `restore`; NotFound for a user who is gone.
    """
    grant.demand(doctor.FIX)
    admin = backends.admin(grant)

    def intent(connection: Connection, lease: uuid.UUID) -> leases.Claim | None:
        taken = agreement.take_up(connection, user_id, lease, _KINDS)
        return None if taken is None else taken[1]

    with leases.claimed(backends, grant, intent) as claim:
        if claim is None or grant.dry_run:
            return ""
        if claim.pending is Pending.SUSPEND:
            until = _finish_suspension(backends, grant, admin, claim).tokens_valid_until
            return "" if until is None else f"access tokens that were issued live until {until.isoformat()}"
        _ask(backends, grant, admin, claim)
        agreement.settle(backends, grant, admin, claim, _nothing_more)
        return ""


# -- in Postgres ------------------------------------------------------------------------------------------


def _begin_suspension(
    connection: Connection, grant: Grant, request: SuspendUser, lease: uuid.UUID, *, drifted: bool
) -> _Claim | User | Impact:
    """Commit that the user is to be suspended, once somebody agreed; superseding a restore that nobody finished.

    Parameters: `drifted` says that Supabase does not have the ban of whoever is suspended already.
    """
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.users import changes, identities, users

    held = users.lock(connection, grant.reach, request.user)
    if held is None:
        raise user_not_found(request.user)
    user = held.user
    row_rules.not_oneself(grant, user, "suspend")
    row_rules.may_write_user(grant, user)
    suspended = user.state is UserState.SUSPENDED
    if suspended and user.pending is None and not drifted:
        return users.seen(connection, grant.reach, user.id)
    # Nobody is asked to agree to what is refused in any case.
    leases.refuse_others(held, _KINDS)
    if not suspended:
        invariants.keep_ruler(connection, user)
        invariants.keep_owners(connection, user)
    impact = _impact(user, request, ends_sessions=identities.may_end_sessions(connection, grant.session_id))
    if not grant.dry_run and not (request.agreed is not None and request.agreed.covers(impact)):
        return impact
    if not suspended:
        changes.write_state(connection, user.id, UserState.SUSPENDED)
        events.record(connection, grant, _change(user, UserState.SUSPENDED, request.reason))
    elif user.pending is None:
        events.record(connection, grant, _ban_change(user, banned=True, reason=request.reason))
    return _take(connection, grant, held, Pending.SUSPEND, lease)


def _begin_restoring(
    connection: Connection, grant: Grant, request: RestoreUser, lease: uuid.UUID, *, drifted: bool
) -> _Claim | User:
    """Commit that the user is to be active; of a deletion only the lease is taken, for Supabase is asked first.

    Parameters: `drifted` says that Supabase bans the user, who is active already.
    """
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.users import changes, users

    held = users.lock(connection, grant.reach, request.user)
    if held is None:
        raise user_not_found(request.user)
    user = held.user
    row_rules.may_write_user(grant, user)
    active = user.state is UserState.ACTIVE
    if active and user.pending is None and not drifted:
        return users.seen(connection, grant.reach, user.id)
    leases.refuse_others(held, _KINDS | {Pending.DELETE})
    if user.pending is Pending.DELETE:
        return _take(connection, grant, held, Pending.DELETE, lease)
    if not active:
        changes.write_state(connection, user.id, UserState.ACTIVE)
        events.record(connection, grant, _change(user, UserState.ACTIVE))
    elif user.pending is None:
        events.record(connection, grant, _ban_change(user, banned=False))
    return _take(connection, grant, held, Pending.RESTORE, lease)


def _cancel_deletion(backends: Backends, grant: Grant, admin: AdminClient, doomed: _Claim) -> _Claim:
    """Turn a deletion that nobody finished into a restore, where Supabase still has the user's identity."""
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.users import changes

    existing = admin.get(doomed.id)
    if existing is None or existing.is_deleted or not identity_of.is_theirs(existing, doomed, doomed.addresses):
        confirm = command_line("users delete", doomed.email, confirm=doomed.email)
        raise Conflict(
            "users.identity_gone",
            f"{doomed.email} cannot be restored: Supabase has no identity of this user any more",
            hint=f"finish the deletion: `{confirm}`",
            details={"user_id": str(doomed.id), "email": doomed.email},
        )
    user = replace(doomed.user, state=UserState.ACTIVE, pending=None)
    claim = replace(doomed, pending=Pending.RESTORE, user=user, since=leases.Since())
    if grant.dry_run:
        return claim
    with backends.database().transaction(grant) as connection:
        if not changes.renew(connection, doomed.id, Pending.DELETE, doomed.lease):
            raise leases.taken_over(doomed.email, "went on with the deletion")
        changes.write_state(connection, doomed.id, UserState.ACTIVE)
        changes.take(connection, doomed.id, Pending.RESTORE, doomed.lease)
        events.record(connection, grant, _change(doomed.user, UserState.ACTIVE))
    return claim


def _take(connection: Connection, grant: Grant, held: LockedUser, pending: Pending, lease: uuid.UUID) -> _Claim:
    from bazar_cli.adapters.postgres.users import changes, users

    user = held.user
    changes.take(connection, user.id, pending, lease)
    seen = users.seen(connection, grant.reach, user.id)
    return _Claim(
        id=user.id,
        email=user.email,
        pending=pending,
        lease=lease,
        deployment=users.deployment(connection),
        adopted=held.adopted,
        resumed=user.pending is pending,
        user=seen if pending is Pending.DELETE else replace(seen, pending=None),
        addresses=identity_of.addresses(connection, user),
    )


def _change(user: User, state: UserState, reason: str | None = None) -> events.Change:
    from bazar_cli.adapters.postgres.audit import events

    before: dict[str, object] = {"state": user.state.value}
    if user.pending is Pending.DELETE:
        before["pending"] = user.pending.value
    return events.Change("user", user.id, before=before, after={"state": state.value}, reason=reason)


def _ban_change(user: User, *, banned: bool, reason: str | None = None) -> events.Change:
    """The change of one whose state stays, and whose ban at Supabase somebody else set or lifted."""
    from bazar_cli.adapters.postgres.audit import events

    return events.Change("user", user.id, before={"banned": not banned}, after={"banned": banned}, reason=reason)


def _impact(user: User, request: SuspendUser, *, ends_sessions: bool) -> Impact:
    sessions = "ends their sessions" if ends_sessions else "cannot end their sessions"
    return Impact(
        text=f"suspending {user.email} bans them at Supabase Auth, {sessions}, and refuses them every command of bazar",
        question=f"Suspend {user.email}?",
        command=command_line("users suspend", request.user, reason=request.reason, yes=True),
        subject=(str(user.id),),
        details={"user_id": str(user.id), "email": user.email},
    )


# -- at Supabase ------------------------------------------------------------------------------------------


def _finish_suspension(backends: Backends, grant: Grant, admin: AdminClient, claim: leases.Claim) -> SuspendedUser:
    from bazar_cli.adapters.postgres.users import identities

    identity = _ask(backends, grant, admin, claim)

    def end_sessions(connection: Connection) -> int | None:
        if not identities.may_end_sessions(connection, grant.session_id):
            return None
        return identities.end_sessions(connection, claim.id)

    user, ended = agreement.settle(backends, grant, admin, claim, end_sessions)
    return _suspended(grant, user, identity, ended)


def _ask(backends: Backends, grant: Grant, admin: AdminClient, claim: leases.Claim) -> StoredIdentity | None:
    """Ban, or lift the ban; return the identity, None when Supabase has none. What is refused stays pending."""
    leases.keep(backends, grant, claim)
    try:
        return agreement.ask(admin, claim)
    except IdentityRefused as refusal:
        raise _refused(claim, refusal) from refusal
    except OutcomeUnknown as unknown:
        try:
            identity = admin.get(claim.id)
        except BackendUnavailable:
            identity = None
        as_wanted = _is_banned if claim.pending is Pending.SUSPEND else _is_free
        if identity is None or not as_wanted(identity):
            raise _unfinished(claim, unknown) from unknown
        return identity


def _is_banned(identity: StoredIdentity) -> bool:
    """Whether the identity bears a ban of ours; one for some hours was set by somebody else, and ends."""
    return identity.is_banned_for_good(_now())


def _is_free(identity: StoredIdentity) -> bool:
    return identity.banned_until is None or identity.banned_until <= _now()


def _lacks_ban(identity: StoredIdentity | None) -> bool:
    return identity is not None and not identity.is_deleted and not _is_banned(identity)


def _bears_ban(identity: StoredIdentity | None) -> bool:
    return identity is not None and not identity.is_deleted and not _is_free(identity)


def _is_there(identity: StoredIdentity | None) -> bool:
    return identity is not None and not identity.is_deleted


def _suspended(grant: Grant, user: User, identity: StoredIdentity | None, ended: int | None) -> SuspendedUser:
    issued = identity is None or identity.has_signed_in or bool(ended)
    return SuspendedUser(
        user=user,
        changed=True,
        has_identity=_is_there(identity),
        sessions_ended=ended,
        tokens_issued=issued,
        tokens_valid_until=_end_of_tokens(identity, grant.token_lifetime) if issued else None,
    )


def _end_of_tokens(identity: StoredIdentity | None, lifetime: timedelta | None) -> datetime | None:
    """The latest end of a token that was issued before the ban, whatever became of its session since."""
    if lifetime is None:
        return None
    banned = _now()
    if identity is not None and _is_banned(identity) and identity.banned_until is not None:
        # The moment of the ban by the clock of Auth, which is the one that tokens end by.
        banned = identity.banned_until - BAN
    return end_of_tokens(banned, lifetime)


def _refused(claim: leases.Claim, refusal: IdentityRefused) -> BazarError:
    what = "ban" if claim.pending is Pending.SUSPEND else "lift the ban of"
    return Conflict(
        "users.ban_refused",
        f"Supabase Auth refused to {what} {claim.email}: {refusal.message}",
        hint="mend the cause and run the same command again, or check the key with `bazar doctor`",
        details={"status": refusal.status, "supabase_code": refusal.code, "user_id": str(claim.id)},
    )


def _unfinished(claim: leases.Claim, unknown: OutcomeUnknown) -> BazarError:
    details = {"user_id": str(claim.id), "email": claim.email}
    hint = leases.advice(claim, unknown)
    if claim.pending is Pending.SUSPEND:
        what = f"{claim.email} is suspended here, but Supabase Auth did not say whether it banned them: {unknown}"
        return BackendUnavailable("users.suspend_unfinished", what, hint=hint, details=details, limit=unknown.limit)
    what = f"{claim.email} is active here, but Supabase Auth did not say whether it lifted the ban: {unknown}"
    return BackendUnavailable("users.restore_unfinished", what, hint=hint, details=details, limit=unknown.limit)


def _nothing_more(_connection: Connection) -> None:
    return None


def _now() -> datetime:
    return datetime.now(timezone.utc)
