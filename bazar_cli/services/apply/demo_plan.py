"""What `db seed` would do: both systems read, and compared with what is wanted, before anything is written."""

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
"""So many are asked for one by one; beyond that the whole list is read, which costs a scan for each thousand."""
_LOOKED_FOR = 1000
"""So many that the list did not show are looked for; beyond that so much is missing that a few do not matter."""
_SHOWN = 20


@dataclass
class UserPlan:
    """One user who is wanted, what is to be done for them, and what became of that so far."""

    wanted: SeedUser
    id: uuid.UUID
    outcome: Outcome
    note: str = ""
    creates: bool = False
    """To be created; where they are there, unfinished, to be finished."""
    first: SeedMembership | None = None
    """The membership that the creation gives."""
    memberships: list[SeedMembership] = field(default_factory=list[SeedMembership])
    """Those to be added after it."""
    state: UserState | None = None
    """The state to be brought about at last, in both systems; None where it is so."""

    @property
    def works(self) -> bool:
        """Whether there is something to do for them."""
        return self.outcome in WRITTEN


@dataclass
class OrganizationPlan:
    """One organization that is wanted, and what became of it so far."""

    wanted: SeedOrganization
    outcome: Outcome
    note: str = ""
    owner: UserPlan | None = None
    """Who is to own a new one; without one the operator does."""


@dataclass(frozen=True)
class SeedPlan:
    """All that is to be done, in the order in which it was wanted."""

    organizations: tuple[OrganizationPlan, ...]
    users: tuple[UserPlan, ...]

    def count(self, outcome: Outcome) -> int:
        """Return for how many users this is foreseen."""
        return sum(user.outcome is outcome for user in self.users)

    @property
    def writes(self) -> bool:
        """Whether anything is to be written."""
        return any(part.outcome in WRITTEN for part in (*self.organizations, *self.users))


def foresee(
    backends: Backends, grant: Grant, data: SeedData, deployment: uuid.UUID, *, emptied: bool = False
) -> SeedPlan:
    """Compare both systems with what is wanted; `emptied` takes all rows but the operator's for gone.

    Raises: Conflict `seed.identity_taken` where an address has an identity that is not this Bazar's, or is another
    user's here; BackendUnavailable.
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
    # Of two identities with one address, which single sign-on allows, the own one counts.
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
    """The identities that have one of the addresses, or one of the ids that are to be given."""
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
        # The list may skip some: who must be there is asked for by id.
        skipped = {user.id for user in stored.values()}.difference(identity.id for identity in seen)
        return [*seen, *(i for i in map(admin.get, sorted(skipped)[:_LOOKED_FOR]) if i is not None)]
    found: list[StoredIdentity | None] = []
    for user, user_id in zip(users, ids, strict=True):
        there = stored.get(user.email)
        found.append(admin.find_by_email(user.email) if there is None else admin.get(there.id))
        if there is None and found[-1] is None:
            found.append(admin.get(user_id))
    return [identity for identity in found if identity is not None]


@dataclass
class _Comparison:
    """Compares one user after the other; `refused` are those whose address is somebody else's at Supabase."""

    deployment: uuid.UUID
    by_email: Mapping[str, StoredIdentity]
    by_id: Mapping[uuid.UUID, StoredIdentity]
    taken: frozenset[uuid.UUID]
    refused: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    now: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    def of(self, user: SeedUser, stored: StoredUser | None) -> UserPlan:
        return self._missing(user) if stored is None else self._there(user, stored)

    def _missing(self, user: SeedUser) -> UserPlan:
        """Somebody to be created, or taken back by the identity that they had."""
        identity = self.by_email.get(user.email)
        suspended = UserState.SUSPENDED if user.state is UserState.SUSPENDED else None
        if identity is None:
            plan = UserPlan(user, self._free_id(user.email), Outcome.CREATED, state=suspended)
        else:
            plan = UserPlan(user, identity.id, Outcome.TAKEN_BACK, state=suspended)
            if identity.deployment is None:
                self.refused.append((user.email, "an identity that bazar did not make"))
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
        """The id that this address always gets; another one where somebody has it who changed the address."""
        found = seed_id(self.deployment, email)
        return time_ordered_uuid() if found in self.taken or found in self.by_id else found

    def _there(self, user: SeedUser, stored: StoredUser) -> UserPlan:
        """Somebody who is there: as wanted, unfinished by an earlier run, or with other values."""
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
            # Of who is unfinished, the one that the creation was begun with.
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
        """Whether what is pending leads to what is wanted."""
        if stored.pending is Pending.CREATE:
            return not stored.adopted and len(stored.roles) <= 1
        wanted = Pending.SUSPEND if user.state is UserState.SUSPENDED else Pending.RESTORE
        return stored.pending is wanted

    def _state(self, user: SeedUser, stored: StoredUser) -> UserState | None:
        """The state that is yet to be brought about, where an earlier run may not have come to it."""
        if user.state is UserState.SUSPENDED:
            return None if stored.state is UserState.SUSPENDED and stored.pending is None else UserState.SUSPENDED
        identity = self.by_id.get(stored.id)
        # Taken back while it bore a ban of bazar's; one for some hours was set by somebody else, and ends.
        banned = identity is not None and identity.is_banned_for_good(self.now)
        return UserState.ACTIVE if stored.pending is Pending.RESTORE or banned else None


def _organization(wanted: SeedOrganization, names: Mapping[str, str], users: Sequence[UserPlan]) -> OrganizationPlan:
    if wanted.slug not in names:
        return OrganizationPlan(wanted, Outcome.CREATED, owner=_owner(wanted.slug, users))
    if names[wanted.slug] != wanted.name:
        return OrganizationPlan(wanted, Outcome.DIFFERS, "another name")
    return OrganizationPlan(wanted, Outcome.EXISTING)


def _owner(slug: str, users: Sequence[UserPlan]) -> UserPlan | None:
    """The first who is wanted as its active owner and whom there is something to do for: others are left alone."""
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
        hint="take such an identity in with `bazar users adopt EMAIL`, delete it at Supabase, or seed other addresses",
        details={"users": [{"email": email, "identity": what} for email, what in refused]},
    )
