"""One change of a user in two systems that share no transaction: the protocol (docs/architecture.md, "Two systems").

1. Intent, `begun`: one transaction says in the row what is wanted. `pending` names the change, a lease of 20 s names
   the command, one audit event records it.
2. Look, `_look`: an operation that may find its work done, or impossible, looks at the identity first.
3. Fence, `_keep_lease`: a call to Supabase begins only if the lease outlasts it. Else the lease is renewed, or lost.
4. Call, `_ask`. Done: go on. Refused (4xx): Supabase did nothing, so the row is taken back where the operation can do
   that. Unknown (5xx, 429, timeout): look again. The identity is as the row wants: go on. It can never be: take the row
   back. Otherwise the row stays pending.
5. Settle, `_settle`: one transaction clears `pending`, if the lease is still held. If not, another command went on
   with the user, and the operation repairs what it did too late.

A command that dies at any point leaves a row with `pending`. The same command run again, or `resume` for the doctor,
takes the lease and goes on from step 2.

`Operation` is what create, invite, adopt, delete, suspend, restore and the change of an address each declare.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, TypeVar

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.entities import Pending
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, KeyRefused, UsageError
from bazar_cli.domain.limits import first_limit
from bazar_cli.domain.users.identities import IN_THE_WAY, Failure, IdentityRefused, OutcomeUnknown, StoredIdentity
from bazar_cli.services.interrupts import step_in_hand
from bazar_cli.services.users import leases
from bazar_cli.services.users.errors import user_not_found

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.users.users import LockedUser
    from bazar_cli.adapters.supabase.admin import AdminClient
    from bazar_cli.domain.entities import User
    from bazar_cli.services.gate.backends import Backends

T = TypeVar("T")

AGAIN = "run the same command again: it continues where this one stopped"


@dataclass(frozen=True)
class Systems:
    """Both systems, as one Grant opens them."""

    backends: Backends
    grant: Grant
    admin: AdminClient

    @classmethod
    def opened(cls, backends: Backends, grant: Grant) -> Systems:
        """Open Supabase's admin API beside Postgres."""
        return cls(backends, grant, backends.admin(grant))

    def transaction(self) -> AbstractContextManager[Connection]:
        """Open the transaction that ends what was begun, whatever became of the operator's rights since."""
        return self.backends.database().transaction(self.grant, finishing=True)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A row that says what is wanted, and the lease of the command that brings it about."""

    id: uuid.UUID
    email: str
    pending: Pending
    lease: uuid.UUID
    deployment: uuid.UUID
    adopted: bool = False
    """The identity was at Supabase first, and the row took its id."""
    resumed: bool = False
    """An earlier run of the same change left it unfinished."""
    since: leases.Since = field(default_factory=leases.Since)

    @property
    def is_new(self) -> bool:
        """Whether the row itself is what is pending."""
        return self.pending in {Pending.CREATE, Pending.INVITE}

    @property
    def makes_identity(self) -> bool:
        """Whether the identity is made too, so that one which is there now was made meanwhile."""
        return self.is_new and not self.adopted


@dataclass(kw_only=True)
class Operation(ABC):
    """What one operation does at each step of the protocol, and what this run of it has seen."""

    systems: Systems
    claim: Claim
    user: User
    """As the operator may see them: first as the intent found them, in the end as they are."""
    identity: StoredIdentity | None = None
    """As Supabase was last seen to have it."""
    addresses: frozenset[str] = frozenset()
    """By which an identity without a stamp is known to be the user's."""
    asked: bool = False
    """A call to Supabase was begun."""
    silent: BackendUnavailable | None = None
    """The error of a look after the call: Supabase did not answer either."""
    settled: bool = False
    """The row is settled, and the lease is given back with that."""

    claims_address: ClassVar[bool] = False
    """It fails for good where another identity has the address of the claim."""

    @property
    def looks_first(self) -> bool:
        """Whether the identity is looked at before the first call."""
        return True

    @abstractmethod
    def call(self) -> StoredIdentity | None:
        """Make Supabase as the row wants it, and return the identity as it is then. It may be made again at any time.

        Raises: IdentityRefused, OutcomeUnknown, KeyRefused.
        """

    @abstractmethod
    def as_wanted(self) -> bool:
        """Say whether the identity that was seen is as the row wants it."""

    @abstractmethod
    def refused(self, refusal: IdentityRefused) -> BazarError:
        """Return the error for a call that Supabase refused."""

    @abstractmethod
    def unfinished(self, unknown: Failure) -> BackendUnavailable:
        """Return the error for an outcome that nobody knows, by `outcome_unknown`."""

    def impossible(self, _owner: StoredIdentity | None, /) -> BazarError | None:
        """Return why the row can never be as it wants; None where it can.

        Parameters: `_owner` is another identity that has the address of the claim, where that was looked up.
        """
        return None

    def undo(self, _why: BazarError, /) -> None:
        """Take the row back, with an audit event. By default it stays pending."""
        return

    def settle(self, connection: Connection) -> bool:
        """Write in Postgres that it is done; return whether this command still held the lease."""
        from bazar_cli.adapters.postgres.users import changes

        return changes.settle(connection, self.claim.id, self.claim.pending, self.claim.lease)

    def lost(self, _row: User | None, /) -> None:
        """Repair what this command did after it lost the lease; return if it is done nevertheless.

        Parameters: `_row` is what another command left of the user. Raises: Conflict `users.taken_over`, `users.busy`.
        """
        raise taken_over(self.claim.email, "went on with the user")

    def note(self) -> str:
        """Return what the doctor says of the user who is done."""
        return ""

    def steps(self) -> Iterator[Operation]:
        """Yield this operation, and those to be brought about before the row is settled."""
        yield self

    def call_refused(self, code: str, verb: str, refusal: IdentityRefused, hint: str) -> Conflict:
        """Return the error with this code for a call that Supabase refused; `verb` says what it was asked to do."""
        return Conflict(
            code,
            f"Supabase Auth refused to {verb} {self.claim.email}: {refusal.message}",
            hint=hint,
            details={"status": refusal.status, "supabase_code": refusal.code, "user_id": str(self.claim.id)},
        )

    def outcome_unknown(self, code: str, message: str, unknown: Failure) -> BackendUnavailable:
        """Return the error with this code, the reason, and what to do next.

        A 500 may be a race that passes. Where an earlier run ended unfinished too, something is in the way.
        """
        in_the_way = self.claim.resumed and isinstance(unknown, OutcomeUnknown) and unknown.failed_inside
        return BackendUnavailable(
            code,
            f"{message}: {unknown}",
            hint=f"{AGAIN}. {IN_THE_WAY}" if in_the_way else AGAIN,
            details={"user_id": str(self.claim.id), "email": self.claim.email},
            limit=first_limit(unknown.limit, self.silent.limit if self.silent else None),
        )

    @property
    def has_identity(self) -> bool:
        """Whether the identity that was seen is there and somebody can sign in with it."""
        return self.identity is not None and not self.identity.is_deleted

    @property
    def is_stamped(self) -> bool:
        """Whether the identity that was seen bears the stamp of this deployment."""
        return self.identity is not None and self.identity.deployment == self.claim.deployment

    @property
    def is_theirs(self) -> bool:
        """Whether the identity that was seen is the user's.

        A stranger may have taken the id before a creation got to Supabase, and the row may have been settled since.
        """
        if self.identity is None:
            return False
        return self.claim.adopted or self.is_stamped or self.identity.email in self.addresses


TakeUp = Callable[["Systems", "Connection", "LockedUser", Claim], Operation]
"""Makes an operation of a row that a command left unfinished."""


# -- intent -----------------------------------------------------------------------------------------------


@contextmanager
def begun(systems: Systems, intent: Callable[[Connection, uuid.UUID], T], *, finishing: bool = False) -> Generator[T]:
    """Commit an intent with a lease, lend what it returned, and give the lease of an Operation back at the end.

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
    """Write what is pending of a locked user, and the lease; return the claim. Parameters: as `claim_of`."""
    from bazar_cli.adapters.postgres.users import changes

    changes.take(connection, held.user.id, pending, lease)
    return claim_of(connection, held, pending, lease, email)


def claim_of(connection: Connection, held: LockedUser, pending: Pending, lease: uuid.UUID, email: str = "") -> Claim:
    """Return the claim to a locked user.

    Parameters: `email` is the address that is wanted, where it is another one than the locked user's.
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
    """Return the addresses that the user's identity may have: the row's, and the one before its latest change."""
    from bazar_cli.adapters.postgres.audit import events

    before = events.address_before(connection, user_id, email)
    return frozenset({email} if before is None else {email, before})


def _give_back(operation: Operation) -> bool:
    """Release the lease if it is still held; return whether it was, so that the change stays pending.

    Where Postgres cannot be reached the lease runs out by itself, and the command's own error says more.
    """
    from bazar_cli.adapters.postgres.users import changes

    try:
        with operation.systems.transaction() as connection:
            return changes.release(connection, operation.claim.id, operation.claim.lease)
    except (BackendUnavailable, Conflict, UsageError):
        return False


def _name_what_is_pending(refused: KeyRefused, claim: Claim) -> None:
    """Add to a refused key that Postgres has a change which Supabase does not have yet."""
    refused.message += f"; Postgres has the change of {claim.email}, with `pending: {claim.pending}`"
    refused.hint += f"; with the right key, {AGAIN}"
    refused.details |= {"user_id": str(claim.id), "pending": str(claim.pending)}


# -- at Supabase ------------------------------------------------------------------------------------------


def complete(operation: Operation) -> User:
    """Bring about what the row wants, and settle it; return the user as the operator may see them.

    Raises: what the operation declares; Conflict `users.taken_over`, `users.busy`.
    """
    for step in operation.steps():
        _bring_about(step)
    return _settle(operation)


def foresee(operation: Operation) -> None:
    """Look at Supabase for a dry run. Raises: what a real run would end with, as far as looking can tell."""
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
    """See the identity as it is now. Raises: BackendUnavailable `supabase.unavailable`; KeyRefused."""
    operation.identity = operation.systems.admin.get(operation.claim.id)


def _owner(operation: Operation) -> StoredIdentity | None:
    """Return another identity that has the address which the operation claims. Raises: as `_look`."""
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
        with suppress(BackendUnavailable):  # the refusal stands without the owner, and the error says less
            owner = _owner(operation)
    _refuse_impossible(operation, owner, refusal)
    if not unseen or operation.identity is None:
        return operation.as_wanted()
    # Another command made the identity. It is that one's to give a password to, unless the lease is still held here.
    operation.claim = replace(operation.claim, resumed=True, since=leases.Since(long_ago=True))
    if not operation.as_wanted():
        _ask(operation)
    return True


def _keep_lease(operation: Operation) -> None:
    """Make sure, before Supabase is asked to write, that the lease outlasts the call.

    Raises: Conflict `users.taken_over` when another command has gone on with the row.
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


# -- settle -----------------------------------------------------------------------------------------------


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
    """Ask Supabase for what the row wants now, after a call that came when the lease was another command's.

    A change that another command left pending is not asked for. Parameters: `again` returns the change that makes
    Supabase like the row. Raises: Conflict `users.taken_over` when Supabase does not do it; it stays pending then.
    """
    from bazar_cli.adapters.postgres.users import changes

    systems, email = late.systems, late.claim.email

    def intent(connection: Connection, lease: uuid.UUID) -> Operation | None:
        held = _held(connection, late.claim.id)
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


def _held(connection: Connection, user_id: uuid.UUID) -> LockedUser | None:
    """Lock a user. Raises: Busy."""
    from bazar_cli.adapters.postgres.users import users

    held = users.lock_by_id(connection, user_id)
    if held is not None and held.leased:
        raise leases.Busy(held.user.email)
    return held


def taken_over(email: str, what: str) -> Conflict:
    """Return the error of a command that lost its lease; `what` is what another command did meanwhile."""
    return Conflict(
        "users.taken_over",
        f"this command was held up, and meanwhile another one {what} ({email})",
        hint=f"look at the user with `{command_line('users get', email)}`, then decide",
        details={"email": email},
    )


def _out_of_reach(email: str) -> Conflict:
    """Return the error of a command that finished a user whom the operator cannot see any more."""
    return Conflict(
        "users.taken_over",
        f"it was done, but another command moved {email}, whom you cannot see any more",
        hint="ask an administrator who can see the user, if you need to know more",
        details={"email": email},
    )


# -- resume -----------------------------------------------------------------------------------------------


def resume(systems: Systems, user_id: uuid.UUID, kinds: Mapping[Pending, TakeUp]) -> str | None:
    """Finish what a command that died left pending; return the operation's note, None if another command finished it.

    Raises: as `complete`; NotFound `users.not_found`; Conflict `users.busy`, also for a change that is not of `kinds`.
    """

    def intent(connection: Connection, lease: uuid.UUID) -> Operation | None:
        held = _held(connection, user_id)
        if held is None:
            raise user_not_found(str(user_id))
        pending = held.user.pending
        if pending is None:
            return None
        if pending not in kinds:
            raise leases.busy_with(held.user.email)
        return kinds[pending](systems, connection, held, take(connection, held, pending, lease))

    with begun(systems, intent) as operation:
        if operation is None:
            return None
        if systems.grant.dry_run:
            foresee(operation)
        else:
            complete(operation)
    return operation.note()
