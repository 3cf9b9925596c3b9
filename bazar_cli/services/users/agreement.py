"""Supabase brought in line with a user's row: what is pending is asked of it, and the row settled.

See docs/architecture.md, Two systems.

For changes of a user whom both systems have: suspension, its end, another address. A claim says what the row
wants; `ask` is the call that makes Supabase the same, and may be made again at any time.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.entities import Pending, UserState
from bazar_cli.domain.users.identities import IdentityRefused, OutcomeUnknown, StoredIdentity
from bazar_cli.services.users import leases
from bazar_cli.services.users.errors import user_not_found

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.users.users import LockedUser
    from bazar_cli.adapters.supabase.admin import AdminClient
    from bazar_cli.domain.entities import User
    from bazar_cli.services.gate.backends import Backends

T = TypeVar("T")


def ask(admin: AdminClient, claim: leases.Claim) -> StoredIdentity | None:
    """Make Supabase as the row wants it; return the identity as it is then, None when there is none.

    Raises: IdentityRefused, OutcomeUnknown.
    """
    if claim.pending is Pending.SUSPEND:
        return admin.ban(claim.id)
    if claim.pending is Pending.RESTORE:
        return admin.unban(claim.id)
    if claim.pending is Pending.EMAIL:
        return admin.change_email(claim.id, claim.email)
    raise ValueError(f"a pending {claim.pending} is no change of an identity")


def take_up(
    connection: Connection, user_id: uuid.UUID, lease: uuid.UUID, kinds: frozenset[Pending]
) -> tuple[LockedUser, leases.Claim] | None:
    """Take over what a dead command left pending, for the doctor; None where another command finished it.

    Raises: NotFound for a user who is gone; Busy.
    """
    from bazar_cli.adapters.postgres.users import changes, users

    held = users.lock_by_id(connection, user_id)
    if held is None:
        raise user_not_found(str(user_id))
    pending = held.user.pending
    if pending is None or pending not in kinds:
        return None
    if held.leased:
        raise leases.Busy(held.user.email)
    changes.take(connection, user_id, pending, lease)
    claim = leases.Claim(
        id=user_id,
        email=held.user.email,
        pending=pending,
        lease=lease,
        deployment=users.deployment(connection),
        adopted=held.adopted,
        resumed=True,
    )
    return held, claim


def settle(
    backends: Backends,
    grant: Grant,
    admin: AdminClient,
    claim: leases.Claim,
    also: Callable[[Connection], T],
    *,
    asked: bool = True,
) -> tuple[User, T]:
    """Clear what was pending, and do `also` what belongs to it in the same transaction.

    Parameters: `asked` says that Supabase was asked to change: where the lease was lost by then, that call may
    have undone what another command settled, so what the row wants now is asked for once more.
    Raises: Conflict `users.taken_over`, also where it is settled and the user out of the operator's reach by now.
    """
    from bazar_cli.adapters.postgres.users import changes, users

    with backends.database().transaction(grant, finishing=True) as connection:
        settled = changes.settle(connection, claim.id, claim.pending, claim.lease)
        if settled:
            done = also(connection)
            user = users.find(connection, grant.reach, str(claim.id))
            if user is not None:
                return user, done
    if settled:
        raise leases.out_of_reach(claim.email)
    if asked:
        set_right(backends, grant, admin, claim)
    raise leases.taken_over(claim.email, "went on with the user")


def set_right(backends: Backends, grant: Grant, admin: AdminClient, late: leases.Claim) -> None:
    """Ask Supabase for what the row wants now, after a call that came when the lease was another command's.

    What somebody else left pending is theirs, or the doctor's, to ask for again. Raises: Conflict
    `users.taken_over` when Supabase does not say that it is right now; it stays pending then.
    """
    from bazar_cli.adapters.postgres.users import changes, users

    def intent(connection: Connection, lease: uuid.UUID) -> leases.Claim | None:
        held = users.lock_by_id(connection, late.id)
        if held is None:
            return None
        if held.leased:
            raise leases.Busy(late.email)
        if held.user.pending is not None:
            return None
        pending = late.pending
        if pending is not Pending.EMAIL:
            pending = Pending.SUSPEND if held.user.state is UserState.SUSPENDED else Pending.RESTORE
        changes.take(connection, late.id, pending, lease)
        return replace(late, email=held.user.email, pending=pending, lease=lease, since=leases.Since())

    with leases.claimed(backends, grant, intent, finishing=True) as claim:
        if claim is None:
            return
        try:
            ask(admin, claim)
        except (IdentityRefused, OutcomeUnknown) as error:
            what = f"changed the user, which Supabase is yet to follow: {error}"
            raise leases.taken_over(late.email, what) from error
        with backends.database().transaction(grant, finishing=True) as connection:
            changes.settle(connection, claim.id, claim.pending, claim.lease)
