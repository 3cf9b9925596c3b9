"""The plan of `db seed`: both systems are read and compared with the data, before anything is written."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.demo.seed import WRITTEN, Outcome, SeedData, SeedMembership, SeedOrganization, SeedUser, seed_id
from bazar_cli.domain.entities import Pending, Role, UserState
from bazar_cli.domain.errors import Conflict
from bazar_cli.domain.users.identities import StoredIdentity
from bazar_cli.services.users.ids import time_ordered_uuid

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.demo_data import StoredUser
    from bazar_cli.services.gate.backends import Backends

_FEW = 25
"""Up to this number users are read one by one; for more the whole list is read, a table scan for each thousand."""
_READ_BY_ID_MOST = 1000
"""The most users missing from the list that are read one by one."""
_SHOWN = 20


@dataclass
class UserPlan:
    """One user of the data, the planned changes, and their outcome so far."""

    wanted: SeedUser
    id: uuid.UUID
    outcome: Outcome
    note: str = ""
    creates: bool = False
    """The user is to be created, or an unfinished creation is to be finished."""
    first: SeedMembership | None = None
    """The membership that is created with the user."""
    memberships: list[SeedMembership] = field(default_factory=list[SeedMembership])
    """The memberships that are added later."""
    state: UserState | None = None
    """The state to set last, in both systems; None if they have it."""

    @property
    def works(self) -> bool:
        """Whether there is a change to make."""
        return self.outcome in WRITTEN


@dataclass
class OrganizationPlan:
    """One organization of the data, and its outcome so far."""

    wanted: SeedOrganization
    outcome: Outcome
    note: str = ""
    owner: UserPlan | None = None
    """The owner of a new organization; None for the operator."""


@dataclass(frozen=True)
class SeedPlan:
    """All planned changes, in the order of the data."""

    organizations: tuple[OrganizationPlan, ...]
    users: tuple[UserPlan, ...]

    def count(self, outcome: Outcome) -> int:
        """Return how many users have this outcome."""
        return sum(user.outcome is outcome for user in self.users)

    @property
    def writes(self) -> bool:
        """Whether there is a change to make."""
        return any(part.outcome in WRITTEN for part in (*self.organizations, *self.users))


def plan_seed(
    backends: Backends, grant: Grant, data: SeedData, deployment: uuid.UUID, *, emptied: bool = False
) -> SeedPlan:
    """Compare both systems with the data, and return the plan.

    Parameters: `emptied` plans as if all rows but the operator's were deleted.
    Raises: Conflict `seed.identity_taken` where the identity of an address belongs to another Bazar or to another user;
    BackendUnavailable.
    """
    from bazar_cli.adapters.postgres import demo_data

    emails = [user.email for user in data.users]
    ids = [seed_id(deployment, email) for email in emails]
    with backends.database().read(grant) as connection:
        stored = demo_data.users(connection, emails)
        names = demo_data.organizations(connection, [o.slug for o in data.organizations])
    if emptied:
        stored, names = {e: u for e, u in stored.items() if u.id == grant.operator.id}, {}
    found = _identities(backends, grant, data.users, stored, ids)
    # Single sign-on allows two identities with one address: the one of this deployment counts.
    living = sorted((i for i in found if not i.is_deleted), key=lambda i: i.deployment == deployment)
    by_email = {identity.email: identity for identity in living}
    by_id = {identity.id: identity for identity in found}
    with backends.database().read(grant) as connection:
        taken = demo_data.taken_ids(connection, [*ids, *by_id])
    if emptied:
        taken &= {grant.operator.id}
    comparison = _Comparison(deployment, by_email, by_id, taken)
    users = tuple(comparison.of(user, stored.get(user.email)) for user in data.users)
    if comparison.refused:
        raise _taken(comparison.refused)
    return SeedPlan(tuple(_organization(o, names, users) for o in data.organizations), users)


def _identities(
    backends: Backends,
    grant: Grant,
    users: Sequence[SeedUser],
    stored: Mapping[str, StoredUser],
    ids: Sequence[uuid.UUID],
) -> list[StoredIdentity]:
    """Return the identities that have one of the addresses, or one of the planned ids."""
    from bazar_cli.adapters.postgres import demo_data
    from bazar_cli.adapters.postgres.users import identities

    emails = {user.email for user in users}
    wanted = {*ids, *(user.id for user in stored.values())}
    with backends.database().read(grant) as connection:
        if identities.readable(connection, grant.session_id):
            return demo_data.identities(connection, emails, wanted)
    admin = backends.admin(grant)
    if len(emails) > _FEW:
        listed = (identity for page in admin.every() for identity in page.identities)
        seen = [identity for identity in listed if identity.email in emails or identity.id in wanted]
        # The list may skip some, so existing users are also read by id.
        skipped = {user.id for user in stored.values()}.difference(identity.id for identity in seen)
        return [*seen, *(i for i in map(admin.get, sorted(skipped)[:_READ_BY_ID_MOST]) if i is not None)]
    found: list[StoredIdentity | None] = []
    for user, user_id in zip(users, ids, strict=True):
        there = stored.get(user.email)
        found.append(admin.find_by_email(user.email) if there is None else admin.get(there.id))
        if there is None and found[-1] is None:
            found.append(admin.get(user_id))
    return [identity for identity in found if identity is not None]


@dataclass
class _Comparison:
    """Compares users one by one; `refused` are the addresses with a foreign identity at Supabase."""

    deployment: uuid.UUID
    by_email: Mapping[str, StoredIdentity]
    by_id: Mapping[uuid.UUID, StoredIdentity]
    taken: frozenset[uuid.UUID]
    refused: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    now: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    def of(self, user: SeedUser, stored: StoredUser | None) -> UserPlan:
        return self._missing(user) if stored is None else self._there(user, stored)

    def _missing(self, user: SeedUser) -> UserPlan:
        """Plan a user without a row: to be created, or taken back with an existing identity."""
        identity = self.by_email.get(user.email)
        suspended = UserState.SUSPENDED if user.state is UserState.SUSPENDED else None
        if identity is None:
            plan = UserPlan(user, self._free_id(user.email), Outcome.CREATED, state=suspended)
        else:
            plan = UserPlan(user, identity.id, Outcome.TAKEN_BACK, state=suspended)
            if identity.deployment is None:
                self.refused.append((user.email, "an identity that bazar did not create"))
            elif identity.deployment != self.deployment:
                self.refused.append((user.email, "the identity of another Bazar"))
            elif identity.id in self.taken:
                self.refused.append((user.email, "the identity of a user with another address here"))
            if identity.is_banned(self.now) and suspended is None:
                plan.state = UserState.ACTIVE
        plan.creates = True
        plan.first, *plan.memberships = user.organizations or (None,)
        return plan

    def _free_id(self, email: str) -> uuid.UUID:
        """Return the fixed id of this address; another one if a user who changed their address has it."""
        found = seed_id(self.deployment, email)
        return time_ordered_uuid() if found in self.taken or found in self.by_id else found

    def _there(self, user: SeedUser, stored: StoredUser) -> UserPlan:
        """Plan a user with a row: as in the data, incomplete from an earlier run, or with other values."""
        plan = UserPlan(user, stored.id, Outcome.EXISTING)
        missing = [m for m in user.organizations if m.slug not in stored.roles]
        different = self._different(user, stored)
        unfinished = self._is_unfinished(user, stored)
        state = self._state(user, stored)
        if stored.pending is not None and not (unfinished and stored.untouched):
            plan.outcome, plan.note = Outcome.DIFFERS, f"in the middle of another change ({stored.pending})"
        elif different or ((missing or state) and not stored.untouched):
            different += ["organizations"] if missing and "organizations" not in different else []
            different += ["state"] if state and "state" not in different else []
            plan.outcome, plan.note = Outcome.DIFFERS, f"another {' and '.join(different)}"
        elif stored.pending is None and stored.id not in self.by_id:
            plan.outcome, plan.note = Outcome.DIFFERS, "no identity at Supabase"
        elif missing or state or stored.pending:
            plan.outcome, plan.state = Outcome.COMPLETED, state
            plan.creates = stored.pending is Pending.CREATE
            # For an unfinished creation, the membership that it began with.
            plan.first = next((m for m in user.organizations if m.slug in stored.roles), None)
            plan.memberships = missing
        return plan

    def _different(self, user: SeedUser, stored: StoredUser) -> list[str]:
        different = [
            *(["name"] if stored.name != user.name else []),
            *(["plan"] if stored.plan is not user.plan else []),
        ]
        roles: dict[str, Role] = {m.slug: m.role for m in user.organizations}
        if any(roles.get(slug) is not role for slug, role in stored.roles.items()):
            different.append("organizations")
        if stored.state is UserState.SUSPENDED and user.state is UserState.ACTIVE:
            different.append("state")
        return different

    def _is_unfinished(self, user: SeedUser, stored: StoredUser) -> bool:
        """Whether the pending change leads to the values of the data."""
        if stored.pending is Pending.CREATE:
            return not stored.adopted and len(stored.roles) <= 1
        wanted = Pending.SUSPEND if user.state is UserState.SUSPENDED else Pending.RESTORE
        return stored.pending is wanted

    def _state(self, user: SeedUser, stored: StoredUser) -> UserState | None:
        """Return the state that an earlier run did not set; None if it did."""
        if user.state is UserState.SUSPENDED:
            return None if stored.state is UserState.SUSPENDED and stored.pending is None else UserState.SUSPENDED
        identity = self.by_id.get(stored.id)
        # It was taken back with a ban of bazar. A shorter ban was set by another program, and ends by itself.
        banned = identity is not None and identity.is_banned_for_good(self.now)
        return UserState.ACTIVE if stored.pending is Pending.RESTORE or banned else None


def _organization(wanted: SeedOrganization, names: Mapping[str, str], users: Sequence[UserPlan]) -> OrganizationPlan:
    if wanted.slug not in names:
        return OrganizationPlan(wanted, Outcome.CREATED, owner=_owner(wanted.slug, users))
    if names[wanted.slug] != wanted.name:
        return OrganizationPlan(wanted, Outcome.DIFFERS, "another name")
    return OrganizationPlan(wanted, Outcome.EXISTING)


def _owner(slug: str, users: Sequence[UserPlan]) -> UserPlan | None:
    """Return the first active owner of the data with a change to make: other users are not changed."""
    for user in users:
        owns = any(m.slug == slug and m.role is Role.OWNER for m in user.wanted.organizations)
        if owns and user.works and user.wanted.state is UserState.ACTIVE:
            return user
    return None


def _taken(refused: Sequence[tuple[str, str]]) -> Conflict:
    named = [f"{email} has {what}" for email, what in refused[:_SHOWN]]
    if len(refused) > _SHOWN:
        named.append(f"{len(refused) - _SHOWN} more")
    return Conflict(
        "seed.identity_taken",
        f"nothing was written: at Supabase {', '.join(named)}",
        hint="adopt such an identity with `bazar users adopt EMAIL`, delete it at Supabase, or seed other addresses",
        details={"users": [{"email": email, "identity": what} for email, what in refused]},
    )
