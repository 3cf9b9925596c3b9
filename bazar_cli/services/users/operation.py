"""The declaration of one change of a user in two systems: `Operation`, with its claim and the two systems.

Create, invite, adopt, delete, suspend, restore and the change of an address each declare what differs as a subclass.
`two_systems` runs them, `intent` begins them.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.entities import Pending
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict
from bazar_cli.domain.limits import first_limit
from bazar_cli.domain.users.identities import IN_THE_WAY, Failure, IdentityRefused, OutcomeUnknown, StoredIdentity
from bazar_cli.services.users import leases
from bazar_cli.services.users.errors import taken_over

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.users.users import LockedUser
    from bazar_cli.adapters.supabase.admin import AdminClient
    from bazar_cli.domain.entities import User
    from bazar_cli.services.gate.backends import Backends

AGAIN = "run the same command again: it continues where this one stopped"


@dataclass(frozen=True)
class Systems:
    """Both systems, opened for one Grant."""

    backends: Backends
    grant: Grant
    admin: AdminClient

    @classmethod
    def opened(cls, backends: Backends, grant: Grant) -> Systems:
        """Open Supabase's admin API beside Postgres."""
        return cls(backends, grant, backends.admin(grant))

    def transaction(self) -> AbstractContextManager[Connection]:
        """Open a transaction that finishes a change, also if the operator has lost the right meanwhile."""
        return self.backends.database().transaction(self.grant, finishing=True)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A row with `pending`, and the lease of the command that finishes it."""

    id: uuid.UUID
    email: str
    pending: Pending
    lease: uuid.UUID
    deployment: uuid.UUID
    adopted: bool = False
    """Whether the identity existed at Supabase before the row, which has its id."""
    resumed: bool = False
    """Whether an earlier run of the same change left it unfinished."""
    since: leases.Since = field(default_factory=leases.Since)

    @property
    def is_new(self) -> bool:
        """Whether the row is new: its creation or invitation is pending."""
        return self.pending in {Pending.CREATE, Pending.INVITE}

    @property
    def makes_identity(self) -> bool:
        """Whether the change creates the identity, so that an existing one was created meanwhile."""
        return self.is_new and not self.adopted


@dataclass(kw_only=True)
class Operation(ABC):
    """One operation: its action at each step of the protocol, and the observations of this run."""

    systems: Systems
    claim: Claim
    user: User
    """With the memberships that the operator can see: from the intent, and after `complete` from the settled row."""
    identity: StoredIdentity | None = None
    """The identity at Supabase, when it was last read."""
    addresses: frozenset[str] = frozenset()
    """Addresses that prove an identity without a stamp to be the user's."""
    asked: bool = False
    """Whether a call to Supabase was begun."""
    silent: BackendUnavailable | None = None
    """The error of a look after the call: Supabase did not answer either."""
    settled: bool = False
    """Whether the row is settled, which also releases the lease."""

    claims_address: ClassVar[bool] = False
    """Whether it can never be done if another identity has the address of the claim."""

    @property
    def looks_first(self) -> bool:
        """Whether the identity is looked at before the first call."""
        return True

    @abstractmethod
    def call(self) -> StoredIdentity | None:
        """Make Supabase like the row, and return the identity after the call. The call can be repeated at any time.

        Raises: IdentityRefused, OutcomeUnknown, KeyRefused.
        """

    @abstractmethod
    def as_wanted(self) -> bool:
        """Say whether the identity is as the row wants it."""

    @abstractmethod
    def refused(self, refusal: IdentityRefused) -> BazarError:
        """Return the error for a call that Supabase refused."""

    @abstractmethod
    def unfinished(self, unknown: Failure) -> BackendUnavailable:
        """Return the error for an unknown outcome, by `outcome_unknown`."""

    def impossible(self, _owner: StoredIdentity | None, /) -> BazarError | None:
        """Return why the change can never be done; None where it can.

        Parameters: `_owner` is another identity that has the address of the claim, where that was looked up.
        """
        return None

    def undo(self, _why: BazarError, /) -> None:
        """Undo the change of the row, with an audit event. By default it remains pending."""
        return

    def settle(self, connection: Connection) -> bool:
        """Clear `pending`; return whether this command still held the lease."""
        from bazar_cli.adapters.postgres.users import changes

        return changes.settle(connection, self.claim.id, self.claim.pending, self.claim.lease)

    def lost(self, _row: User | None, /) -> None:
        """Repair the call of this command after it lost the lease; return if the change is done nevertheless.

        Parameters: `_row` is the user after another command; None if it was deleted.
        Raises: Conflict `users.taken_over`, `users.busy`.
        """
        raise taken_over(self.claim.email, "went on with the user")

    def note(self) -> str:
        """Return a note for the doctor about the finished user."""
        return ""

    def steps(self) -> Iterator[Operation]:
        """Yield this operation, and others that must be done before the row is settled."""
        yield self

    def call_refused(self, code: str, verb: str, refusal: IdentityRefused, hint: str) -> Conflict:
        """Return the error with this code for a call that Supabase refused; `verb` says for what it was asked."""
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
        """Whether the user has an identity that is not soft-deleted."""
        return self.identity is not None and not self.identity.is_deleted

    @property
    def is_stamped(self) -> bool:
        """Whether the identity has the stamp of this deployment."""
        return self.identity is not None and self.identity.deployment == self.claim.deployment

    @property
    def is_theirs(self) -> bool:
        """Whether the identity is the user's.

        Another user may have taken the id before a creation reached Supabase.
        """
        if self.identity is None:
            return False
        return self.claim.adopted or self.is_stamped or self.identity.email in self.addresses


TakeUp = Callable[["Systems", "Connection", "LockedUser", Claim], Operation]
"""Makes the operation that continues an unfinished row."""
