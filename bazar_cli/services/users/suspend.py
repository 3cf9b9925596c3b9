"""`users suspend` and `users restore`: a state that both systems must agree on (`two_systems`).

The state is committed with `pending suspend` or `pending restore`. Then Supabase bans, or lifts the ban. Then the row
is settled, and the sessions are ended where the Auth database is proven readable.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from bazar_cli.domain.authz import row_rules
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.consent import Impact, check_consent
from bazar_cli.domain.entities import Pending, User, UserState
from bazar_cli.domain.errors import BackendUnavailable, Conflict
from bazar_cli.domain.users import changes as use_cases
from bazar_cli.domain.users.changes import RestoredUser, RestoreUser, SuspendedUser, SuspendUser
from bazar_cli.domain.users.identities import BAN, Failure, IdentityRefused, StoredIdentity, end_of_tokens
from bazar_cli.domain.users.values import checked_reason
from bazar_cli.services import invariants
from bazar_cli.services.users import intent, leases, two_systems
from bazar_cli.services.users.errors import taken_over
from bazar_cli.services.users.operation import Claim, Operation, Systems, TakeUp

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.users.users import LockedUser
    from bazar_cli.services.gate.backends import Backends

_KINDS = frozenset({Pending.SUSPEND, Pending.RESTORE})


def suspend(backends: Backends, grant: Grant, request: SuspendUser) -> SuspendedUser:
    """Suspend a user, or finish what an earlier run began; a user who is suspended and banned is not changed.

    A suspended user whose ban was lifted at Supabase is banned again.
    Raises: UsageError `users.reason_invalid`; NotFound; ConsentNeeded; Denied by the row rules; Conflict
    `users.last_superuser`, `users.last_owner`, `users.pending`, `users.busy`, `users.ban_refused`, `users.taken_over`;
    BackendUnavailable `users.suspend_unfinished` when the outcome at Supabase is unknown.
    """
    grant.demand(use_cases.SUSPEND)
    checked = replace(request, reason=checked_reason(request.reason))
    systems = Systems.opened(backends, grant)

    found = _suspend(systems, checked)
    drifted = not found.changed and _has_drifted(systems, found.user, _is_banned)
    return _suspend(systems, checked, drifted=True) if drifted else found


def _suspend(systems: Systems, request: SuspendUser, *, drifted: bool = False) -> SuspendedUser:
    with intent.begun(
        systems, lambda connection, lease: _begin_suspension(systems, connection, request, lease, drifted=drifted)
    ) as suspension:
        if isinstance(suspension, User):
            return SuspendedUser(suspension, changed=False)
        if systems.grant.dry_run:
            two_systems.foresee(suspension)
        else:
            two_systems.complete(suspension)
        return suspension.result()


def restore(backends: Backends, grant: Grant, request: RestoreUser) -> RestoredUser:
    """Make a suspended user active, or one whose deletion was begun and whose identity Supabase still has.

    The ban of an active user, which was set at Supabase, is lifted there.
    Raises: NotFound; Denied by the row rules; Conflict `users.pending`, `users.busy`, `users.ban_refused`,
    `users.identity_gone` when there is nothing left of a deletion to take back, `users.taken_over`;
    BackendUnavailable `users.restore_unfinished` when the outcome at Supabase is unknown.
    """
    grant.demand(use_cases.RESTORE)
    systems = Systems.opened(backends, grant)

    found = _restore(systems, request)
    drifted = not found.changed and _has_drifted(systems, found.user, _is_free)
    return _restore(systems, request, drifted=True) if drifted else found


def _has_drifted(systems: Systems, user: User, as_wanted: Callable[[StoredIdentity], bool]) -> bool:
    """Say whether only Supabase does not have the state of a user."""
    identity = systems.admin.get(user.id)
    return identity is not None and not identity.is_deleted and not as_wanted(identity)


def _restore(systems: Systems, request: RestoreUser, *, drifted: bool = False) -> RestoredUser:
    with intent.begun(
        systems, lambda connection, lease: _begin_restoring(systems, connection, request, lease, drifted=drifted)
    ) as restoring:
        if isinstance(restoring, User):
            return RestoredUser(restoring, changed=False)
        if restoring.claim.pending is Pending.DELETE:
            _cancel_deletion(restoring)
        if systems.grant.dry_run:
            two_systems.foresee(restoring)
        else:
            two_systems.complete(restoring)
        return RestoredUser(restoring.user, changed=True, has_identity=restoring.has_identity)


# -- in Postgres ------------------------------------------------------------------------------------------


def _begin_suspension(
    systems: Systems, connection: Connection, request: SuspendUser, lease: uuid.UUID, *, drifted: bool
) -> _Suspension | User:
    """Commit the suspension of the user after consent. An unfinished restore is superseded.

    Parameters: `drifted` says that the user is suspended already, and Supabase does not have the ban.
    """
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.users import changes, identities, users

    grant = systems.grant
    held = leases.locked_user(connection, grant, request.user)
    user = held.user
    row_rules.not_oneself(grant, user, "suspend")
    row_rules.may_write_user(grant, user)
    suspended = user.state is UserState.SUSPENDED
    if suspended and user.pending is None and not drifted:
        return users.seen(connection, grant.reach, user.id)
    # Refuse before asking for consent.
    leases.refuse_others(held, _KINDS)
    if not suspended:
        invariants.keep_last_superuser(connection, user)
        invariants.keep_owners(connection, user)
    impact = _impact(user, request, ends_sessions=identities.may_end_sessions(connection, grant.session_id))
    check_consent(impact, request.agreed, optional=grant.dry_run)
    if not suspended:
        changes.write_state(connection, user.id, UserState.SUSPENDED)
        events.record(connection, grant, _change(user, UserState.SUSPENDED, request.reason))
    elif user.pending is None:
        events.record(connection, grant, _ban_change(user, banned=True, reason=request.reason))
    claim = intent.take(connection, held, Pending.SUSPEND, lease)
    seen = users.seen(connection, grant.reach, user.id)
    return _Suspension(systems=systems, claim=claim, user=replace(seen, pending=None))


def _begin_restoring(
    systems: Systems, connection: Connection, request: RestoreUser, lease: uuid.UUID, *, drifted: bool
) -> _Restoring | User:
    """Commit that the user is to be active. Of a deletion only the lease is taken, because Supabase is asked first.

    Parameters: `drifted` says that the user is active already, and Supabase bans them.
    """
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.users import changes, users

    grant = systems.grant
    held = leases.locked_user(connection, grant, request.user)
    user = held.user
    row_rules.may_write_user(grant, user)
    active = user.state is UserState.ACTIVE
    if active and user.pending is None and not drifted:
        return users.seen(connection, grant.reach, user.id)
    leases.refuse_others(held, _KINDS | {Pending.DELETE})
    if user.pending is Pending.DELETE:
        claim = intent.take(connection, held, Pending.DELETE, lease)
        seen = users.seen(connection, grant.reach, user.id)
        addresses = intent.addresses_of(connection, user.id, user.email)
        return _Restoring(systems=systems, claim=claim, user=seen, addresses=addresses)
    if not active:
        changes.write_state(connection, user.id, UserState.ACTIVE)
        events.record(connection, grant, _change(user, UserState.ACTIVE))
    elif user.pending is None:
        events.record(connection, grant, _ban_change(user, banned=False))
    claim = intent.take(connection, held, Pending.RESTORE, lease)
    seen = users.seen(connection, grant.reach, user.id)
    return _Restoring(systems=systems, claim=claim, user=replace(seen, pending=None))


def _cancel_deletion(restoring: _Restoring) -> None:
    """Turn an unfinished deletion into a restore, where Supabase still has the user's identity."""
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.users import changes

    systems, claim, user = restoring.systems, restoring.claim, restoring.user
    restoring.identity = systems.admin.get(claim.id)
    if not restoring.has_identity or not restoring.is_theirs:
        confirm = command_line("users delete", claim.email, confirm=claim.email)
        raise Conflict(
            "users.identity_gone",
            f"{claim.email} cannot be restored: Supabase has no identity of this user any more",
            hint=f"finish the deletion: `{confirm}`",
            details={"user_id": str(claim.id), "email": claim.email},
        )
    if not systems.grant.dry_run:
        with systems.backends.database().transaction(systems.grant) as connection:
            if not changes.renew(connection, claim.id, Pending.DELETE, claim.lease):
                raise taken_over(claim.email, "went on with the deletion")
            changes.write_state(connection, claim.id, UserState.ACTIVE)
            changes.take(connection, claim.id, Pending.RESTORE, claim.lease)
            events.record(connection, systems.grant, _change(user, UserState.ACTIVE))
    restoring.user = replace(user, state=UserState.ACTIVE, pending=None)
    restoring.claim = replace(claim, pending=Pending.RESTORE, since=leases.Since())


def _change(user: User, state: UserState, reason: str | None = None) -> events.Change:
    from bazar_cli.adapters.postgres.audit import events

    before: dict[str, object] = {"state": user.state.value}
    if user.pending is Pending.DELETE:
        before["pending"] = user.pending.value
    return events.Change("user", user.id, before=before, after={"state": state.value}, reason=reason)


def _ban_change(user: User, *, banned: bool, reason: str | None = None) -> events.Change:
    """The audit change of a user whose state is kept, and whose ban was set or lifted at Supabase."""
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


class _Ban(Operation):
    """Set or lift a ban. A call that Supabase refuses remains pending."""

    verb = "ban"

    @property
    def looks_first(self) -> bool:
        return False  # the call answers with the identity

    def refused(self, refusal: IdentityRefused) -> Conflict:
        hint = "correct the cause and run the same command again, or check the key with `bazar doctor`"
        return self.call_refused("users.ban_refused", self.verb, refusal, hint)

    def lost(self, row: User | None, /) -> None:
        two_systems.set_right(self, state_again)
        super().lost(row)


@dataclass(kw_only=True)
class _Suspension(_Ban):
    """The identity is banned, then the sessions are ended where the database of the target can."""

    sessions_ended: int | None = None

    def call(self) -> StoredIdentity | None:
        return self.systems.admin.ban(self.claim.id)

    def as_wanted(self) -> bool:
        return self.identity is not None and _is_banned(self.identity)

    def unfinished(self, unknown: Failure) -> BackendUnavailable:
        message = f"{self.claim.email} is suspended here, but Supabase Auth did not say whether it banned them"
        return self.outcome_unknown("users.suspend_unfinished", message, unknown)

    def settle(self, connection: Connection) -> bool:
        from bazar_cli.adapters.postgres.users import identities

        settled = super().settle(connection)
        if settled and identities.may_end_sessions(connection, self.systems.grant.session_id):
            self.sessions_ended = identities.end_sessions(connection, self.claim.id)
        return settled

    def result(self) -> SuspendedUser:
        issued = self.identity is None or self.identity.has_signed_in or bool(self.sessions_ended)
        return SuspendedUser(
            user=self.user,
            changed=True,
            has_identity=self.has_identity,
            sessions_ended=self.sessions_ended,
            tokens_issued=issued,
            tokens_valid_until=_end_of_tokens(self.identity, self.systems.grant.token_lifetime) if issued else None,
            resumed=self.claim.resumed,
        )

    def note(self) -> str:
        until = None if self.systems.grant.dry_run else self.result().tokens_valid_until
        return "" if until is None else f"access tokens that were issued live until {until.isoformat()}"


class _Restoring(_Ban):
    """The ban is lifted."""

    verb = "lift the ban of"

    def call(self) -> StoredIdentity | None:
        return self.systems.admin.unban(self.claim.id)

    def as_wanted(self) -> bool:
        return self.identity is not None and _is_free(self.identity)

    def unfinished(self, unknown: Failure) -> BackendUnavailable:
        message = f"{self.claim.email} is active here, but Supabase Auth did not say whether it lifted the ban"
        return self.outcome_unknown("users.restore_unfinished", message, unknown)


def take_up(systems: Systems, _connection: Connection, held: LockedUser, claim: Claim) -> Operation:
    """Continue an unfinished suspension or its end."""
    operation = _Suspension if claim.pending is Pending.SUSPEND else _Restoring
    return operation(systems=systems, claim=claim, user=held.user)


def state_again(user: User) -> tuple[Pending, TakeUp]:
    """Return the change that makes Supabase like the state of the row."""
    return Pending.SUSPEND if user.state is UserState.SUSPENDED else Pending.RESTORE, take_up


def _is_banned(identity: StoredIdentity) -> bool:
    """Say whether it has a ban of bazar. A ban of some hours was set at Supabase, and ends."""
    return identity.is_banned_for_good(_now())


def _is_free(identity: StoredIdentity) -> bool:
    return not identity.is_banned(_now())


def _end_of_tokens(identity: StoredIdentity | None, lifetime: timedelta | None) -> datetime | None:
    """Return the latest end of a token that was issued before the ban, with or without its session."""
    if lifetime is None:
        return None
    banned = _now()
    if identity is not None and _is_banned(identity) and identity.banned_until is not None:
        # The moment of the ban by the clock of Auth, which is the one that tokens end by.
        banned = identity.banned_until - BAN
    return end_of_tokens(banned, lifetime)


def _now() -> datetime:
    return datetime.now(timezone.utc)
