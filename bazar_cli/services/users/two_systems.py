"""The protocol: one change of a user in two systems that share no transaction (docs/architecture.md, "Two systems").

1. Intent, `intent.begun`: one transaction writes the wanted values. `pending` names the change, a lease of 20 s names
   the command, one audit event records it.
2. Look, `_look`: an operation whose change may be done, or impossible, looks at the identity first.
3. Fence, `_keep_lease`: a call to Supabase begins only if the lease outlasts it. Else the lease is renewed, or lost.
4. Call, `_ask`. Done: continue. Refused (4xx): Supabase did nothing, so the operation undoes the row if it can. Unknown
   (5xx, 429, timeout): look again. If the identity is as the row wants, continue. If it can never be, undo the row.
   Otherwise the row remains pending.
5. Settle, `_settle`: one transaction clears `pending`, if the lease is still held. If not, another command has
   continued with the user, and the operation repairs its late call.

A command that dies at any point leaves a row with `pending`. The same command, or `resume` for the doctor, takes the
lease and continues at step 2.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from bazar_cli.domain.entities import Pending
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, KeyRefused
from bazar_cli.domain.users.identities import IdentityRefused, OutcomeUnknown, StoredIdentity
from bazar_cli.services.users import leases
from bazar_cli.services.users.errors import taken_over
from bazar_cli.services.users.intent import begun, lock_free, take
from bazar_cli.services.users.operation import Operation, TakeUp

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.domain.entities import User


def complete(operation: Operation) -> User:
    """Make Supabase like the row, and settle the row; return the user with the memberships that the operator can see.

    Raises: what the operation declares; Conflict `users.taken_over`, `users.busy`.
    """
    for step in operation.steps():
        _bring_about(step)
    return _settle(operation)


def foresee(operation: Operation) -> None:
    """Look at Supabase for a dry run. Raises: the error of a real run, as far as it can be known without a call."""
    _look(operation)
    impossible = operation.impossible(_owner(operation))
    if impossible is not None:
        raise impossible


def _bring_about(operation: Operation) -> None:
    try:
        if operation.looks_first:
            _look(operation)
            _refuse_impossible(operation)
            if operation.as_wanted():
                return
        _ask(operation)
    except BackendUnavailable as silent:
        if silent.code != "supabase.unavailable":
            raise
        raise operation.unfinished(silent) from silent


def _look(operation: Operation) -> None:
    """Read the identity at Supabase. Raises: BackendUnavailable `supabase.unavailable`; KeyRefused."""
    operation.identity = operation.systems.admin.get(operation.claim.id)


def _owner(operation: Operation) -> StoredIdentity | None:
    """Return another identity that has the address of the claim. Raises: as `_look`."""
    claim, seen = operation.claim, operation.identity
    if not operation.claims_address or (seen is not None and seen.email == claim.email):
        return None
    owner = operation.systems.admin.find_by_email(claim.email)
    if owner is not None and owner.id == claim.id:
        operation.identity = owner
        return None
    return owner


def _ask(operation: Operation) -> None:
    """Make the call under the lease, and classify its answer."""
    unseen = operation.identity is None
    _keep_lease(operation)
    operation.asked = True
    try:
        operation.identity = operation.call()
    except KeyRefused as error:
        # This call did nothing. Whether an earlier run made an identity cannot be looked up with this key.
        if operation.claim.is_new and not operation.claim.resumed:
            operation.undo(error)
        raise
    except IdentityRefused as refusal:
        if not _was_done_before(operation, refusal, unseen=unseen):
            raise _undone(operation, operation.refused(refusal)) from refusal
    except OutcomeUnknown as unknown:
        try:
            _look(operation)
            owner = _owner(operation)
        except BackendUnavailable as silent:
            operation.silent = silent
            raise operation.unfinished(unknown) from silent
        _refuse_impossible(operation, owner, unknown)
        if operation.as_wanted():
            return
        if not (unseen and operation.has_identity and operation.claim.makes_identity):
            raise operation.unfinished(unknown) from unknown
        _ask(operation)
    else:
        if operation.identity is None:
            _refuse_impossible(operation)


def _was_done_before(operation: Operation, refusal: IdentityRefused, *, unseen: bool) -> bool:
    """Say whether Supabase refused a creation or an invitation that is done already; finish it then."""
    if not operation.claim.makes_identity:
        return False
    _look(operation)
    owner = None
    if refusal.code == "email_exists":
        with suppress(BackendUnavailable):  # without the owner the error says less
            owner = _owner(operation)
    _refuse_impossible(operation, owner, refusal)
    if not unseen or operation.identity is None:
        return operation.as_wanted()
    # Another command made the identity, and sets its password, unless this command still holds the lease.
    operation.claim = replace(operation.claim, resumed=True, since=leases.Since(long_ago=True))
    if not operation.as_wanted():
        _ask(operation)
    return True


def _keep_lease(operation: Operation) -> None:
    """Make sure before a call that the lease outlasts it.

    Raises: Conflict `users.taken_over` when another command has continued with the row.
    """
    claim = operation.claim
    if claim.since.allows_a_call():
        return
    from bazar_cli.adapters.postgres.users import changes

    with operation.systems.transaction() as connection:
        kept = changes.renew(connection, claim.id, claim.pending, claim.lease)
    if not kept:
        raise taken_over(claim.email, "went on with the user")


def _refuse_impossible(
    operation: Operation, owner: StoredIdentity | None = None, cause: Exception | None = None
) -> None:
    impossible = operation.impossible(owner)
    if impossible is not None:
        raise _undone(operation, impossible) from cause


def _undone(operation: Operation, why: BazarError) -> BazarError:
    operation.undo(why)
    return why


def _settle(operation: Operation) -> User:
    from bazar_cli.adapters.postgres.users import users

    user_id, grant = operation.claim.id, operation.systems.grant
    with operation.systems.transaction() as connection:
        settled = operation.settle(connection)
        seen = users.find(connection, grant.reach, str(user_id))
        row = None if settled and seen is not None else users.lock_by_id(connection, user_id)
    operation.settled = settled
    if not settled:
        operation.lost(None if row is None else row.user)
    if seen is not None:
        operation.user = seen
    elif row is not None:
        raise _out_of_reach(operation.claim.email)
    return operation.user


def set_right(late: Operation, again: Callable[[User], tuple[Pending, TakeUp]]) -> None:
    """Make Supabase like the row again, after a call that came when another command held the lease.

    A change that another command left pending is not made. Parameters: `again` returns the change that makes Supabase
    like the row. Raises: Conflict `users.taken_over` when Supabase does not do it; then it remains pending.
    """
    from bazar_cli.adapters.postgres.users import changes

    systems, email = late.systems, late.claim.email

    def intent(connection: Connection, lease: uuid.UUID) -> Operation | None:
        held = lock_free(connection, late.claim.id)
        if held is None or held.user.pending is not None:
            return None
        pending, take_up = again(held.user)
        return take_up(systems, connection, held, take(connection, held, pending, lease))

    with begun(systems, intent, finishing=True) as operation:
        if operation is None:
            return
        try:
            operation.call()
        except (IdentityRefused, OutcomeUnknown) as error:
            what = f"changed the user, and Supabase does not have that change yet: {error}"
            raise taken_over(email, what) from error
        with systems.transaction() as connection:
            changes.settle(connection, operation.claim.id, operation.claim.pending, operation.claim.lease)


def _out_of_reach(email: str) -> Conflict:
    """Return the error of a command that finished a user whom the operator can no longer see."""
    return Conflict(
        "users.taken_over",
        f"it was done, but another command moved {email}, whom you cannot see any more",
        hint="ask an administrator who can see the user, if you need to know more",
        details={"email": email},
    )
