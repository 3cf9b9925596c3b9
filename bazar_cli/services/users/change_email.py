"""`users update --email`: another address of one user in both systems (`two_systems`).

The new address is committed with `pending email`. Then Supabase is asked, which answers 500 to an address that another
identity has. If Supabase cannot have the address, the row gets Supabase's address back. An address that the row has
already is asked of Supabase too, where the identity has another one.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bazar_cli.domain.authz import row_rules
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.entities import Pending, User
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict
from bazar_cli.domain.users import changes as use_cases
from bazar_cli.domain.users.changes import ChangedUser, UpdateUser
from bazar_cli.domain.users.identities import Failure, IdentityRefused, StoredIdentity
from bazar_cli.domain.users.values import checked_name, normalized_email
from bazar_cli.services.users import intent, leases, two_systems
from bazar_cli.services.users.errors import (
    check_user_version,
    refused_by_supabase,
    taken_over,
    user_changed_since,
    user_not_found,
)
from bazar_cli.services.users.operation import Claim, Operation, Systems, TakeUp

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.users.users import LockedUser
    from bazar_cli.services.gate.backends import Backends


@dataclass(frozen=True)
class _NotWritten:
    """A user who has the address in Postgres already; Supabase must be looked at before anything is written."""

    change: _AddressChange


def change(backends: Backends, grant: Grant, request: UpdateUser, given: str) -> ChangedUser:
    """Give a user the address `given`, and the name that was given with it, or finish what an earlier run began.

    Nothing changes if both systems already have the address. Supabase is written to if it alone has another one.
    Raises: UsageError for a value that breaks a rule, or that Supabase refuses; NotFound; Denied by the row
    rules; Conflict `users.email_exists`, `users.changed_since`, `users.pending`, `users.busy`, and, with the
    old address back in its place, `users.email_at_supabase`, `users.no_identity`; `users.taken_over`;
    BackendUnavailable `users.email_unfinished` when the outcome at Supabase is unknown: run it again.
    """
    grant.demand(use_cases.UPDATE)
    email, name = normalized_email(given), checked_name(request.name)
    systems = Systems.opened(backends, grant)

    found = _change(systems, request, email, name)
    if isinstance(found, _NotWritten):
        found = _change(systems, request, email, name, _address_at_supabase(found.change))
    assert isinstance(found, ChangedUser), "Supabase was looked at"
    return found


def _change(
    systems: Systems, request: UpdateUser, email: str, name: str | None, at_supabase: str | None = None
) -> ChangedUser | _NotWritten:
    """Parameters: `at_supabase` is the address that Supabase was found to have; None before it was looked at."""

    with intent.begun(
        systems,
        lambda connection, lease: _begin(systems, connection, request, email, name, lease, at_supabase),
    ) as found:
        if not isinstance(found, _AddressChange):
            return found
        if systems.grant.dry_run:
            two_systems.foresee(found)
        else:
            two_systems.complete(found)
        return ChangedUser(found.user, changed=True)


def _address_at_supabase(change: _AddressChange) -> str:
    """Return the address that Supabase has of a user who has the wanted one here; the wanted one without an identity.

    Raises: what a change of it would end with, as far as looking can tell.
    """
    change.identity = change.systems.admin.get(change.claim.id)
    if change.identity is None or change.identity.is_deleted or change.as_wanted():
        return change.claim.email
    there = change.identity.email
    two_systems.foresee(change)
    return there


# -- in Postgres ------------------------------------------------------------------------------------------


def _begin(
    systems: Systems,
    connection: Connection,
    request: UpdateUser,
    email: str,
    name: str | None,
    lease: uuid.UUID,
    at_supabase: str | None,
) -> _AddressChange | _NotWritten | ChangedUser:
    """Commit the new address, and the name where one was given; take over an unfinished change, or find it done."""
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.users import changes, users

    grant = systems.grant
    held = users.lock(connection, grant.reach, request.user)
    moved = held is None
    if held is None:
        held = _moved_from(connection, grant, request.user, email)
    user = held.user
    row_rules.may_write_user(grant, user)
    resumed = user.pending is Pending.EMAIL and user.email == email
    leases.refuse_others(held, {Pending.EMAIL} if resumed else ())
    since = request.if_unchanged_since
    # An earlier run under the same condition has changed the user itself.
    if not resumed and not moved:
        check_user_version(request.version, user)
        if since is not None and user.updated_at > since:
            raise user_changed_since(user, since)
    changed: dict[str, tuple[str | None, str | None]] = {}
    unchanged = email == user.email and not resumed
    if unchanged and at_supabase is None:
        claim = intent.claim_of(connection, held, Pending.EMAIL, lease)
        return _NotWritten(_address_change(systems, connection, user, claim, drifted=True))
    drifted = unchanged and at_supabase != email
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
    if unchanged and not drifted:
        return ChangedUser(users.seen(connection, grant.reach, user.id), changed=bool(changed))
    claim = intent.take(connection, held, Pending.EMAIL, lease, email)
    seen = replace(users.seen(connection, grant.reach, user.id), pending=None)
    return _address_change(systems, connection, seen, claim, drifted=drifted)


def _moved_from(connection: Connection, grant: Grant, reference: str, email: str) -> LockedUser:
    """Return the user who has the new address, and had the one that the command names before.

    So the same command finds its user again after it died. Raises: NotFound.
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
        # The address may become free: what the other command began may be taken back.
        raise leases.Busy(email)
    raise changes.email_taken(email, creating=False)


# -- at Supabase ------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class _AddressChange(Operation):
    """The identity gets the address of the claim, or the row gets Supabase's address back."""

    claims_address = True

    before: str | None
    """The address of before; None where the audit log does not have it."""
    drifted: bool = False
    """The row has had the address all along, and only Supabase has another one."""

    def impossible(self, owner: StoredIdentity | None, /) -> Conflict | None:
        if not self.has_identity or not self.is_theirs:
            return self._no_identity()
        return None if owner is None else self._at_supabase()

    def as_wanted(self) -> bool:
        return self.identity is not None and self.identity.email == self.claim.email

    def call(self) -> StoredIdentity | None:
        return self.systems.admin.change_email(self.claim.id, self.claim.email)

    def refused(self, refusal: IdentityRefused) -> BazarError:
        if refusal.code == "email_exists":
            return self._at_supabase()
        return refused_by_supabase(self.claim.email, refusal)

    def unfinished(self, unknown: Failure) -> BackendUnavailable:
        message = f"Supabase Auth did not say whether it changed the address to {self.claim.email}"
        return self.outcome_unknown("users.email_unfinished", message, unknown)

    def undo(self, why: BazarError, /) -> None:
        """Give the row Supabase's address, else the one of before; where only Supabase drifted, the row has it.

        Raises: Conflict `users.email_exists` where another user took the address meanwhile: it remains pending.
        """
        from bazar_cli.adapters.postgres.audit import events
        from bazar_cli.adapters.postgres.users import changes

        claim, grant = self.claim, self.systems.grant
        at_supabase = self.identity.email if self.identity is not None and self.has_identity and self.is_theirs else ""
        address = at_supabase or self.before
        with self.systems.transaction() as connection:
            if not changes.settle(connection, claim.id, claim.pending, claim.lease):
                raise taken_over(claim.email, "went on with the user") from why
            if self.drifted:
                before, after = {"supabase_email": claim.email}, None
            elif address and address != claim.email:
                changes.write_email(connection, claim.id, address)
                before, after = {"email": claim.email}, {"email": address}
            else:
                return
            undone = events.Change("user", claim.id, before=before, after=after, reason=why.message, outcome="undone")
            events.record(connection, grant, undone)

    def lost(self, row: User | None, /) -> None:
        if self.asked:
            two_systems.set_right(self, _address_again)
        super().lost(row)

    def _no_identity(self) -> Conflict:
        kept = self.claim.email if self.drifted else self.before or self.claim.email
        return Conflict(
            "users.no_identity",
            f"Supabase has no identity of {kept}, so the address cannot be changed",
            hint=f"delete the user and create it again: `{command_line('users delete', kept, confirm=kept)}`",
            details={"user_id": str(self.claim.id), "email": kept},
        )

    def _at_supabase(self) -> Conflict:
        return Conflict(
            "users.email_at_supabase",
            f"another identity at Supabase has {self.claim.email}; the user keeps the old address",
            hint="use another address",
            details={"email": self.claim.email},
        )


def take_up(systems: Systems, connection: Connection, held: LockedUser, claim: Claim) -> Operation:
    """Continue an unfinished change of address."""
    return _address_change(systems, connection, held.user, claim)


def _address_change(
    systems: Systems, connection: Connection, user: User, claim: Claim, *, drifted: bool = False
) -> _AddressChange:
    known = intent.addresses_of(connection, claim.id, claim.email)
    before = next(iter(known - {claim.email}), None)
    return _AddressChange(systems=systems, claim=claim, user=user, addresses=known, before=before, drifted=drifted)


def _address_again(_user: User) -> tuple[Pending, TakeUp]:
    return Pending.EMAIL, take_up
