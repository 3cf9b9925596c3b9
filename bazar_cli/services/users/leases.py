"""Leases: one command at a time on a user whom two systems must agree on (docs/architecture.md).

Any command that changes a user waits here for the command that holds the user's lease. `two_systems` takes leases.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, TypeVar

from bazar_cli.adapters.polling import poll
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.entities import Pending
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict
from bazar_cli.services.users.errors import found_user, user_pending

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.users.users import LockedUser
    from bazar_cli.services.gate.backends import Backends

T = TypeVar("T")

CALL_WITHIN_SECONDS = 8.0
"""A lease lasts 20 s and a call to Supabase 10 s at most."""
_POLL_SECONDS = (0.05, 0.25)
_DEADLOCK = "40P01"


class Since:
    """How long ago a lease was taken, by this machine: also while the process was stopped or the machine slept."""

    def __init__(self, *, long_ago: bool = False) -> None:
        self._long_ago = long_ago
        self._monotonic = time.monotonic()
        self._wall = time.time()

    def allows_a_call(self) -> bool:
        """Say whether a call to Supabase that begins now ends, at the latest by its timeout, before the lease does."""
        return not self._long_ago and self.seconds < CALL_WITHIN_SECONDS

    @property
    def seconds(self) -> float:
        """The seconds that passed."""
        # The monotonic clock may stop while a machine sleeps, the other one may be set: the later counts.
        return max(time.monotonic() - self._monotonic, time.time() - self._wall)


class Busy(Exception):
    """Another command holds the user's lease. It is raised inside a transaction, and `when_free` waits outside."""

    def __init__(self, email: str) -> None:
        super().__init__(email)
        self.email = email


def locked_user(connection: Connection, grant: Grant, reference: str) -> LockedUser:
    """Lock the user by id or email. Raises: NotFound `users.not_found`."""
    from bazar_cli.adapters.postgres.users import users

    return found_user(users.lock(connection, grant.reach, reference), reference)


def refuse_pending(held: LockedUser, kinds: Collection[Pending] = tuple(Pending)) -> None:
    """Wait for a command that makes one of these changes; refuse a user with such an unfinished change.

    Raises: Busy, inside `when_free`; Conflict `users.pending`.
    """
    pending = held.user.pending
    if pending is None or pending not in kinds:
        return
    if held.leased:
        raise Busy(held.user.email)
    raise user_pending(held.user.email, pending, adopted=held.adopted)


def refuse_others(held: LockedUser, kinds: Collection[Pending]) -> None:
    """Wait for the command that holds the user; refuse an unfinished change of another kind than these.

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


def when_free(step: Callable[[Connection], T], backends: Backends, grant: Grant, *, finishing: bool = False) -> T:
    """Run `step` in a transaction, again and again while another command holds the lease it needs.

    It tries again after a lost race for a new row, because then the winner's row is there, and after a deadlock, which
    the order of locks (`postgres.operator_rights`) leaves to very few commands.
    Raises: Conflict `users.busy` after the longest wait of `backends`; the errors of `step`.
    """
    raced = False

    def attempt() -> tuple[T]:
        try:
            with backends.database().transaction(grant, finishing=finishing) as connection:
                return (step(connection),)
        except Busy as busy:
            raise busy_with(busy.email) from busy

    def again(error: BazarError) -> bool:
        nonlocal raced
        if error.code == "users.email_exists" and error.__cause__ is not None and not raced:
            raced = True
            return True
        deadlock = isinstance(error, BackendUnavailable) and error.details.get("sqlstate") == _DEADLOCK
        return deadlock or isinstance(error.__cause__, Busy)

    done = poll(attempt, seconds=backends.waits.lease, pause=_POLL_SECONDS, again=again)
    assert done is not None, "an attempt returns a result or raises"
    return done[0]
