"""`users update --email`: another address of one user in both systems (docs/architecture.md).

The new address is committed first, with the one audit event; then Supabase is asked, which answers 500 to an
address that somebody else has. Where it cannot have it, the row gets Supabase's address back. An address that the row
has already is asked of Supabase too, where it has another one.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bazar_cli.domain import doctor
from bazar_cli.domain.authz import row_rules
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.entities import Pending, User
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, UsageError
from bazar_cli.domain.limits import first_limit
from bazar_cli.domain.users import users as use_cases
from bazar_cli.domain.users.identities import Failure, IdentityRefused, OutcomeUnknown, StoredIdentity
from bazar_cli.domain.users.users import ChangedUser, UpdateUser, checked_name, normalized_email
from bazar_cli.services.users import agreement, identity_of, leases
from bazar_cli.services.users.errors import user_changed_since, user_not_found

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.users.users import LockedUser
    from bazar_cli.adapters.supabase.admin import AdminClient
    from bazar_cli.services.gate.backends import Backends

_KINDS = frozenset({Pending.EMAIL})


@dataclass(frozen=True, kw_only=True)
class _Move(leases.Claim):
    """A user who is to have the claim's address, as the operator may see them."""

    user: User
    before: str | None
    """The address that they come from; None where the audit log does not have it."""
    drifted: bool = False
    """They have had it here all along, and Supabase has another one: here nothing changes, nor is put back."""

    @property
    def known(self) -> frozenset[str]:
        """The addresses by which an identity is known to be theirs."""
        return frozenset({self.email} if self.before is None else {self.email, self.before})


@dataclass(frozen=True)
class _Same:
    """A user who has the address here already, and for whom Supabase is to be looked at; nothing is written yet."""

    move: _Move


def change(backends: Backends, grant: Grant, request: UpdateUser, given: str) -> ChangedUser:
    """Give a user the address `given`, and the name that was given with it, or finish what an earlier run began.

    Who has it in both systems keeps it, and Supabase is written to where it alone has another one.
    Raises: UsageError for a value that breaks a rule, or that Supabase refuses; NotFound; Denied by the row
    rules; Conflict `users.email_exists`, `users.changed_since`, `users.pending`, `users.busy`, and, with the
    old address back in its place, `users.email_at_supabase`, `users.no_identity`; `users.taken_over`;
    BackendUnavailable `users.email_unfinished` when the outcome at Supabase is unknown: run it again.
    """
    grant.demand(use_cases.UPDATE)
    email, name = normalized_email(given), checked_name(request.name)
    admin = backends.admin(grant)

    found = _change(backends, grant, admin, request, email, name)
    if isinstance(found, _Same):
        found = _change(backends, grant, admin, request, email, name, _at_supabase_now(admin, found.move))
    assert isinstance(found, ChangedUser), "Supabase was looked at"
    return found


def _change(
    backends: Backends,
    grant: Grant,
    admin: AdminClient,
    request: UpdateUser,
    email: str,
    name: str | None,
    at_supabase: str | None = None,
) -> ChangedUser | _Same:
    """Parameters: `at_supabase` is the address that Supabase was found to have; None before it was looked at."""

    def intent(connection: Connection, lease: uuid.UUID) -> _Move | _Same | ChangedUser:
        return _begin(connection, grant, request, email, name, lease, at_supabase)

    with leases.claimed(backends, grant, intent) as move:
        if not isinstance(move, _Move):
            return move
        if grant.dry_run:
            _foresee(admin, move)
            return ChangedUser(move.user, changed=True)
        return ChangedUser(_finish(backends, grant, admin, move), changed=True)


def finish(backends: Backends, grant: Grant, user_id: uuid.UUID) -> None:
    """Finish a change of address whose command died, for `doctor --fix`.

    Raises: as `change`; NotFound for a user who is gone.
    """
    grant.demand(doctor.FIX)
    admin = backends.admin(grant)

    def intent(connection: Connection, lease: uuid.UUID) -> _Move | None:
        from bazar_cli.adapters.postgres.audit import events

        taken = agreement.take_up(connection, user_id, lease, _KINDS)
        if taken is None:
            return None
        held, claim = taken
        return _move(held, claim, held.user, events.address_before(connection, user_id, claim.email))

    with leases.claimed(backends, grant, intent) as move:
        if move is None:
            return
        if grant.dry_run:
            _foresee(admin, move)
        else:
            _finish(backends, grant, admin, move)


# -- in Postgres ------------------------------------------------------------------------------------------


def _begin(
    connection: Connection,
    grant: Grant,
    request: UpdateUser,
    email: str,
    name: str | None,
    lease: uuid.UUID,
    at_supabase: str | None,
) -> _Move | _Same | ChangedUser:
    """Commit the new address, and the name where one was given; take over an unfinished change, or find it done."""
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.users import changes, users

    held = users.lock(connection, grant.reach, request.user)
    moved = held is None
    if held is None:
        held = _moved_from(connection, grant, request.user, email)
    user = held.user
    row_rules.may_write_user(grant, user)
    resumed = user.pending is Pending.EMAIL and user.email == email
    leases.refuse_others(held, _KINDS if resumed else ())
    since = request.if_unchanged_since
    # What was begun, or done, under the same condition has changed the user itself.
    if since is not None and user.updated_at > since and not resumed and not moved:
        raise user_changed_since(user, since)
    changed: dict[str, tuple[str | None, str | None]] = {}
    stays = email == user.email and not resumed
    if stays and at_supabase is None:
        return _Same(_moving(connection, grant, held, email, lease, drifted=True))
    drifted = stays and at_supabase != email
    if drifted:
        changed["supabase_email"] = (at_supabase or None, email)
    if email != user.email:
        _refuse_taken(connection, email)
        changes.write_email(connection, user.id, email)
        changed["email"] = (user.email, email)
    if request.name is not None and name != user.name:
        changes.rename(connection, user.id, name)
        changed["name"] = (user.name, name)
    if changed:
        before, after = ({key: values[side] for key, values in changed.items()} for side in (0, 1))
        events.record(connection, grant, events.Change("user", user.id, before=before, after=after))
    if stays and not drifted:
        return ChangedUser(users.seen(connection, grant.reach, user.id), changed=bool(changed))
    changes.take(connection, user.id, Pending.EMAIL, lease)
    return _moving(connection, grant, held, email, lease, drifted=drifted)


def _moving(
    connection: Connection, grant: Grant, held: LockedUser, email: str, lease: uuid.UUID, *, drifted: bool
) -> _Move:
    """The claim to the user, as they were held, with what the transaction wrote since."""
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.users import users

    user = held.user
    claim = leases.Claim(
        id=user.id,
        email=email,
        pending=Pending.EMAIL,
        lease=lease,
        deployment=users.deployment(connection),
        resumed=user.pending is Pending.EMAIL and email == user.email,
    )
    before = user.email if email != user.email else events.address_before(connection, user.id, email)
    seen = replace(users.seen(connection, grant.reach, user.id), pending=None)
    return _move(held, claim, seen, before, drifted=drifted)


def _move(held: LockedUser, claim: leases.Claim, user: User, before: str | None, *, drifted: bool = False) -> _Move:
    return _Move(
        id=claim.id,
        email=claim.email,
        pending=claim.pending,
        lease=claim.lease,
        deployment=claim.deployment,
        adopted=held.adopted,
        since=claim.since,
        resumed=claim.resumed,
        user=user,
        before=before,
        drifted=drifted,
    )


def _moved_from(connection: Connection, grant: Grant, reference: str, email: str) -> LockedUser:
    """The user who has the new address, and came to it from the one that the command names.

    So the same command, run again after it died, finds whom it began with. Raises: NotFound.
    """
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.users import users

    held = users.lock(connection, grant.reach, email)
    if held is None or events.address_before(connection, held.user.id, email) != reference.lower():
        raise user_not_found(reference)
    return held


def _refuse_taken(connection: Connection, email: str) -> None:
    from bazar_cli.adapters.postgres.users import changes, users

    other = users.lock_by_email(connection, email)
    if other is None:
        return
    if other.leased:
        # What is being created, or changed, may be taken back.
        raise leases.Busy(email)
    raise changes.email_taken(email, creating=False)


def _put_back(backends: Backends, grant: Grant, move: _Move, address: str | None, why: BazarError) -> None:
    """Take the change back: the row gets `address`, where there is one, and nothing is pending any more.

    One that changed nothing here has nothing to put back.

    Raises: Conflict `users.email_exists` where another user took the address meanwhile: it stays pending.
    """
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.users import changes

    with backends.database().transaction(grant, finishing=True) as connection:
        if not changes.settle(connection, move.id, move.pending, move.lease):
            raise leases.taken_over(move.email, "went on with the user") from why
        if move.drifted:
            before, after = {"supabase_email": move.email}, None
        elif address and address != move.email:
            changes.write_email(connection, move.id, address)
            before, after = {"email": move.email}, {"email": address}
        else:
            return
        undone = events.Change("user", move.id, before=before, after=after, reason=why.message, outcome="undone")
        events.record(connection, grant, undone)


# -- at Supabase ------------------------------------------------------------------------------------------


def _finish(backends: Backends, grant: Grant, admin: AdminClient, move: _Move) -> User:
    with leases.begun(lambda silent: _unfinished(move, silent)):
        existing = admin.get(move.id)
    if existing is None or not _may_be_changed(existing, move):
        raise _undone(backends, grant, move, move.before, _no_identity(move))
    asked = existing.email != move.email
    if asked:
        _ask(backends, grant, admin, move, existing)
    user, _ = agreement.settle(backends, grant, admin, move, lambda _connection: None, asked=asked)
    return user


def _ask(backends: Backends, grant: Grant, admin: AdminClient, move: _Move, existing: StoredIdentity) -> None:
    """Change the address at Supabase; where it cannot be, put the one that Supabase has back in the row."""
    back = existing.email or move.before
    leases.keep(backends, grant, move)
    try:
        changed = agreement.ask(admin, move)
    except IdentityRefused as refusal:
        raise _undone(backends, grant, move, back, _refused(move, refusal)) from refusal
    except OutcomeUnknown as unknown:
        _find_out(backends, grant, admin, move, unknown)
        return
    if changed is None:
        raise _undone(backends, grant, move, back, _no_identity(move))


def _find_out(backends: Backends, grant: Grant, admin: AdminClient, move: _Move, unknown: OutcomeUnknown) -> None:
    """After a 5xx or a timeout: it was changed, the address is somebody else's, or nobody knows yet."""
    try:
        existing = admin.get(move.id)
        done = existing is not None and existing.email == move.email
        other = None if done else admin.find_by_email(move.email)
    except BackendUnavailable as silent:
        raise _unfinished(move, unknown, silent) from silent
    if done or (other is not None and other.id == move.id):
        return
    if other is None or existing is None:
        raise _unfinished(move, unknown) from unknown
    raise _undone(backends, grant, move, existing.email or move.before, _at_supabase(move.email)) from unknown


def _undone(backends: Backends, grant: Grant, move: _Move, address: str | None, why: BazarError) -> BazarError:
    """Put `address` back in the row; return the error that says why."""
    _put_back(backends, grant, move, address, why)
    return why


def _at_supabase_now(admin: AdminClient, move: _Move) -> str:
    """The address that Supabase has of who keeps theirs here: the same, also where it has nobody to change.

    Raises: what a change of it would end with, as far as looking can tell; nothing is written then.
    """
    existing = admin.get(move.id)
    if existing is None or existing.is_deleted or existing.email == move.email:
        return move.email
    _foresee_of(admin, move, existing)
    return existing.email


def _foresee(admin: AdminClient, move: _Move) -> None:
    """Raise what a real run would end with, as far as looking can tell."""
    _foresee_of(admin, move, admin.get(move.id))


def _foresee_of(admin: AdminClient, move: _Move, existing: StoredIdentity | None) -> None:
    if existing is None or not _may_be_changed(existing, move):
        raise _no_identity(move)
    other = admin.find_by_email(move.email)
    if other is not None and other.id != move.id:
        raise _at_supabase(move.email)


def _may_be_changed(existing: StoredIdentity, move: _Move) -> bool:
    return not existing.is_deleted and identity_of.is_theirs(existing, move, move.known)


def _no_identity(move: _Move) -> Conflict:
    kept = move.email if move.drifted else move.before or move.email
    return Conflict(
        "users.no_identity",
        f"Supabase has no identity of {kept}, whose address could be changed",
        hint=f"delete the user and create them anew: `{command_line('users delete', kept, confirm=kept)}`",
        details={"user_id": str(move.id), "email": kept},
    )


def _at_supabase(email: str) -> Conflict:
    return Conflict(
        "users.email_at_supabase",
        f"{email} has another identity at Supabase; the user keeps their address",
        hint="use another address",
        details={"email": email},
    )


def _refused(move: _Move, refusal: IdentityRefused) -> BazarError:
    if refusal.code == "email_exists":
        return _at_supabase(move.email)
    return UsageError(
        "users.refused_by_supabase",
        f"Supabase Auth refused {move.email}: {refusal.message}",
        hint="correct the value and run the command again",
        details={"status": refusal.status, "supabase_code": refusal.code},
    )


def _unfinished(move: _Move, unknown: Failure, *looks: BackendUnavailable) -> BackendUnavailable:
    return BackendUnavailable(
        "users.email_unfinished",
        f"Supabase Auth did not say whether it changed the address to {move.email}: {unknown}",
        hint=leases.advice(move, unknown),
        details={"user_id": str(move.id), "email": move.email},
        limit=first_limit(unknown.limit, *(look.limit for look in looks)),
    )
