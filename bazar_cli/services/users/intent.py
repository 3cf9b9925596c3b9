"""The intent of a change in two systems: the transaction that writes `pending` and the lease, and the lease's end."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from bazar_cli.domain.entities import Pending
from bazar_cli.domain.errors import BackendUnavailable, Conflict, KeyRefused, UsageError
from bazar_cli.services.interrupts import step_in_hand
from bazar_cli.services.users import leases
from bazar_cli.services.users.operation import AGAIN, Claim, Operation, Systems

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.users.users import LockedUser

T = TypeVar("T")


@contextmanager
def begun(systems: Systems, intent: Callable[[Connection, uuid.UUID], T], *, finishing: bool = False) -> Generator[T]:
    """Commit an intent with a lease, yield its result, and release the lease of an Operation at the end.

    Signals wait from the commit to the end of the block. Parameters: `intent` gets the transaction and the lease to
    write; it returns an Operation where there is something to do at Supabase; `finishing` as in
    `Database.transaction`. Raises: as `leases.when_free`.
    """
    lease = uuid.uuid4()
    with step_in_hand() as begin_step:

        def step(connection: Connection) -> T:
            found = intent(connection, lease)
            begin_step()
            return found

        found = leases.when_free(step, systems.backends, systems.grant, finishing=finishing)
        refused: KeyRefused | None = None
        try:
            yield found
        except KeyRefused as refusal:
            refused = refusal
            raise
        finally:
            if isinstance(found, Operation) and not found.settled and not systems.grant.dry_run:
                stays_pending = _give_back(found)
                if refused is not None and stays_pending:
                    _name_what_is_pending(refused, found.claim)


def take(connection: Connection, held: LockedUser, pending: Pending, lease: uuid.UUID, email: str = "") -> Claim:
    """Write `pending` and the lease of a locked user; return the claim. Parameters: as `claim_of`."""
    from bazar_cli.adapters.postgres.users import changes

    changes.take(connection, held.user.id, pending, lease)
    return claim_of(connection, held, pending, lease, email)


def claim_of(connection: Connection, held: LockedUser, pending: Pending, lease: uuid.UUID, email: str = "") -> Claim:
    """Return the claim to a locked user.

    Parameters: `email` is the wanted address, if it differs from the locked user's.
    """
    from bazar_cli.adapters.postgres.users import users

    return Claim(
        id=held.user.id,
        email=email or held.user.email,
        pending=pending,
        lease=lease,
        deployment=users.deployment(connection),
        adopted=held.adopted,
        resumed=held.user.pending is pending,
    )


def addresses_of(connection: Connection, user_id: uuid.UUID, email: str) -> frozenset[str]:
    """Return the addresses that the user's identity may have: the row's, and the one before its last change."""
    from bazar_cli.adapters.postgres.audit import events

    before = events.address_before(connection, user_id, email)
    return frozenset({email} if before is None else {email, before})


def lock_free(connection: Connection, user_id: uuid.UUID) -> LockedUser | None:
    """Lock a user whom no command holds. Raises: Busy."""
    from bazar_cli.adapters.postgres.users import users

    held = users.lock_by_id(connection, user_id)
    if held is not None and held.leased:
        raise leases.Busy(held.user.email)
    return held


def _give_back(operation: Operation) -> bool:
    """Release the lease if it is still held; return whether it was, so that the change remains pending.

    Where Postgres cannot be reached the lease runs out by itself, and the command's own error says more.
    """
    from bazar_cli.adapters.postgres.users import changes

    try:
        with operation.systems.transaction() as connection:
            return changes.release(connection, operation.claim.id, operation.claim.lease)
    except (BackendUnavailable, Conflict, UsageError):
        return False


def _name_what_is_pending(refused: KeyRefused, claim: Claim) -> None:
    """Add to the error of a refused key that Postgres has a change which Supabase does not have yet."""
    refused.message += f"; Postgres has the change of {claim.email}, with `pending: {claim.pending}`"
    refused.hint += f"; with the right key, {AGAIN}"
    refused.details |= {"user_id": str(claim.id), "pending": str(claim.pending)}
