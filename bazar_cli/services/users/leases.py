"""Leases: one command at a time on a user that two systems must agree on (docs/architecture.md).

What every change of both systems shares: the intent that is committed with a lease, the fence before each call to
Supabase, and giving the lease back.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.entities import Pending
from bazar_cli.domain.errors import BackendUnavailable, Conflict, KeyRefused, UsageError
from bazar_cli.domain.users.identities import IN_THE_WAY, OutcomeUnknown
from bazar_cli.services.interrupts import step_in_hand
from bazar_cli.services.users.errors import user_pending

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.users.users import LockedUser
    from bazar_cli.services.gate.backends import Backends

T = TypeVar("T")

WAIT_SECONDS = 30.0
"""Longer than a lease: whoever holds one has ended or lost it by then."""
CALL_WITHIN_SECONDS = 8.0
"""A lease lasts 20 s and a call to Supabase 10 s at most."""
AGAIN = "run the same command again: it goes on where this one stopped"
_POLL_SECONDS = (0.05, 0.25)
_DEADLOCK = "40P01"


class Since:
    """How long ago a lease was taken, by this machine: also while the process was stopped or the machine slept."""

    def __init__(self, *, long_ago: bool = False) -> None:
        self._long_ago = long_ago
        self._monotonic = time.monotonic()
        self._wall = time.time()

    def allows_a_call(self) -> bool:
        """Whether a call to Supabase that begins now ends, at the latest by its timeout, before the lease does."""
        # The monotonic clock may stand still while a machine sleeps, the other one may be set: the later counts.
        passed = max(time.monotonic() - self._monotonic, time.time() - self._wall)
        return not self._long_ago and passed < CALL_WITHIN_SECONDS


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A user whose row says what is wanted, and whom this command holds until Supabase has it too."""

    id: uuid.UUID
    email: str
    pending: Pending
    lease: uuid.UUID
    deployment: uuid.UUID
    adopted: bool = False
    """The identity was at Supabase first, and the row took its id."""
    resumed: bool = False
    """An earlier run of the same change left it unfinished."""
    since: Since = field(default_factory=Since)
    """When the lease was taken: a process may be stopped, or its machine asleep, for longer than it lasts."""


class Busy(Exception):
    """Another command holds the user's lease. Raised inside the transaction, waited for outside of it."""

    def __init__(self, email: str) -> None:
        super().__init__(email)
        self.email = email


def refuse_pending(held: LockedUser, kinds: Collection[Pending] = tuple(Pending)) -> None:
    """Wait for the command that is at one of these changes of the user; refuse one that nobody finished.

    Raises: Busy, inside `when_free` or `claimed`; Conflict `users.pending`.
    """
    pending = held.user.pending
    if pending is None or pending not in kinds:
        return
    if held.leased:
        raise Busy(held.user.email)
    raise user_pending(held.user.email, pending, adopted=held.adopted)


def refuse_others(held: LockedUser, kinds: Collection[Pending]) -> None:
    """Wait for whoever holds the user, and refuse to pass over a change of another kind than these.

    Raises: as `refuse_pending`.
    """
    if held.leased:
        raise Busy(held.user.email)
    refuse_pending(held, frozenset(Pending).difference(kinds))


def busy_with(email: str) -> Conflict:
    """Return the error for a user whom another command holds."""
    return Conflict(
        "users.busy",
        f"another command is in the middle of a change of {email}",
        hint="try again in half a minute",
        details={"email": email},
    )


def taken_over(email: str, what: str) -> Conflict:
    """Return the error of a command that lost its lease; `what` is what another command did meanwhile."""
    return Conflict(
        "users.taken_over",
        f"this command was held up, and meanwhile another one {what} ({email})",
        hint=f"look at the user with `{command_line('users get', email)}`, then decide",
        details={"email": email},
    )


def advice(claim: Claim, unknown: Exception) -> str:
    """Return what to do about a change of which nobody knows whether Supabase made it.

    A 500 may be a race that passes. Where an earlier run ended unfinished too, something stands in the way.
    """
    if claim.resumed and isinstance(unknown, OutcomeUnknown) and unknown.failed_inside:
        return f"{AGAIN}. {IN_THE_WAY}"
    return AGAIN


def out_of_reach(email: str) -> Conflict:
    """Return the error of a command that did what it was to do, and may not show any more to whom."""
    return Conflict(
        "users.taken_over",
        f"it was done, and meanwhile another command took {email} out of your reach",
        hint="ask an administrator who can see the user, if you need to know more",
        details={"email": email},
    )


@contextmanager
def claimed(
    backends: Backends, grant: Grant, intent: Callable[[Connection, uuid.UUID], T], *, finishing: bool = False
) -> Generator[T]:
    """Commit an intent with a lease, lend what it returned, and give the lease of a Claim back at the end.

    Signals wait from the commit to the end of the block. Parameters: `intent` gets the transaction and the
    lease to write; what it returns is a Claim where there is something to do at Supabase. `finishing` as in
    `Database.transaction`. Raises: as `when_free`.
    """
    lease = uuid.uuid4()
    with step_in_hand() as begin_step:

        def step(connection: Connection) -> T:
            begun = intent(connection, lease)
            begin_step()
            return begun

        begun = when_free(step, backends, grant, finishing=finishing)
        refused: KeyRefused | None = None
        try:
            yield begun
        except KeyRefused as refusal:
            refused = refusal
            raise
        finally:
            if (
                isinstance(begun, Claim)
                and not grant.dry_run
                and give_back(backends, grant, begun.id, lease)
                and refused
            ):
                _say_what_stands(refused, begun)


def keep(backends: Backends, grant: Grant, claim: Claim) -> None:
    """Make sure, before Supabase is asked to write, that the lease outlasts the call.

    Raises: Conflict `users.taken_over` when another command has gone on with the row.
    """
    if claim.since.allows_a_call():
        return
    from bazar_cli.adapters.postgres.users import changes

    with backends.database().transaction(grant, finishing=True) as connection:
        kept = changes.renew(connection, claim.id, claim.pending, claim.lease)
    if not kept:
        raise taken_over(claim.email, "went on with the user")


@contextmanager
def begun(unfinished: Callable[[BackendUnavailable], BackendUnavailable]) -> Generator[None]:
    """Let a look at Supabase that got no answer end as the change does that waits for it: unfinished.

    Raises: `unfinished` of the error, in place of `supabase.unavailable`.
    """
    try:
        yield
    except BackendUnavailable as silent:
        if silent.code != "supabase.unavailable":
            raise
        raise unfinished(silent) from silent


def when_free(step: Callable[[Connection], T], backends: Backends, grant: Grant, *, finishing: bool = False) -> T:
    """Run `step` in a transaction, again and again while another command holds the lease it needs.

    A lost race for a new row is such a wait too: the winner's row is what the next try finds. So is a deadlock, which
    the order of locks (`postgres.operator_rights`) leaves to very few commands: the next try sees what the other did.
    Raises: Conflict `users.busy` after 30 s; whatever else the step raises.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    raced = False
    while True:
        try:
            with backends.database().transaction(grant, finishing=finishing) as connection:
                return step(connection)
        except Busy as busy:
            if time.monotonic() > deadline:
                raise busy_with(busy.email) from busy
        except Conflict as conflict:
            if conflict.code != "users.email_exists" or conflict.__cause__ is None or raced:
                raise
            raced = True
        except BackendUnavailable as busy:
            if busy.details.get("sqlstate") != _DEADLOCK or time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(*_POLL_SECONDS))  # noqa: S311 - jitter, no secret


def _say_what_stands(refused: KeyRefused, claim: Claim) -> None:
    """Add to a refused key that Postgres has the change, which Supabase is yet to follow."""
    refused.message += f"; Postgres has the change of {claim.email}, with `pending: {claim.pending}`"
    refused.hint += f"; with the right key, {AGAIN}"
    refused.details |= {"user_id": str(claim.id), "pending": str(claim.pending)}


def give_back(backends: Backends, grant: Grant, user_id: uuid.UUID, lease: uuid.UUID) -> bool:
    """Release a lease that is still held when a command ends; return whether it was, so that a change is pending.

    Where Postgres cannot be reached the lease runs out by itself, and the command's own error says more.
    """
    from bazar_cli.adapters.postgres.users import changes

    try:
        with backends.database().transaction(grant, finishing=True) as connection:
            return changes.release(connection, user_id, lease)
    except (BackendUnavailable, Conflict, UsageError):
        return False
