"""The plan of `db seed`: the comparison of declared state, and which of its changes demo data may make.

A demo user that an earlier run left incomplete, and that was not changed, is completed. Any other user who differs is
not changed. The identity of an earlier run is taken back by its fixed id.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.declared.changes import Change
from bazar_cli.domain.declared.state import DeclaredOrganization, DeclaredState, DeclaredUser
from bazar_cli.domain.demo.seed import REASON, WRITTEN, Outcome, seed_id
from bazar_cli.domain.entities import Pending, UserState
from bazar_cli.domain.errors import Conflict
from bazar_cli.domain.users.identities import StoredIdentity
from bazar_cli.services.apply import compare
from bazar_cli.services.apply.compare import Stored, UserDifference
from bazar_cli.services.apply.perform import Changes
from bazar_cli.services.users.ids import time_ordered_uuid

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.declared import StoredUser
    from bazar_cli.services.gate.backends import Backends

_FEW = 25
"""Up to this number users are read one by one; for more the whole list is read, a table scan for each thousand."""
_READ_BY_ID_MOST = 1000
"""The most users missing from the list that are read one by one."""
_SHOWN = 20


@dataclass(frozen=True)
class UserPlan:
    """One user of the data, and the expected outcome."""

    wanted: DeclaredUser
    id: uuid.UUID
    outcome: Outcome
    note: str = ""


@dataclass(frozen=True)
class OrganizationPlan:
    """One organization of the data, and the expected outcome."""

    wanted: DeclaredOrganization
    outcome: Outcome
    note: str = ""


@dataclass(frozen=True)
class SeedPlan:
    """The expected outcomes, in the order of the data, and the changes."""

    organizations: tuple[OrganizationPlan, ...]
    users: tuple[UserPlan, ...]
    changes: Changes

    def count(self, outcome: Outcome) -> int:
        """Return how many users have this outcome."""
        return sum(user.outcome is outcome for user in self.users)

    @property
    def writes(self) -> bool:
        """Whether there is a change to make."""
        return any(part.outcome in WRITTEN for part in (*self.organizations, *self.users))


def plan_seed(
    backends: Backends, grant: Grant, data: DeclaredState, deployment: uuid.UUID, *, emptied: bool = False
) -> SeedPlan:
    """Compare both systems with the data, and return the plan.

    Parameters: `emptied` plans as if all rows but the operator's were deleted.
    Raises: Conflict `seed.identity_taken` where the identity of an address belongs to another Bazar or to another user;
    BackendUnavailable.
    """
    from bazar_cli.adapters.postgres import demo_data

    operator = grant.operator
    ids = [seed_id(deployment, user.email) for user in data.users]
    with backends.database().read(grant) as connection:
        stored = compare.read(connection, grant.reach, data)
        untouched = demo_data.untouched(connection, [user.id for user in stored.users.values()])
    if emptied:
        stored = replace(
            stored, users={e: u for e, u in stored.users.items() if u.id == operator.id}, organizations={}, members=()
        )
    found = _identities(backends, grant, data.users, stored.users, ids)
    # Single sign-on allows two identities with one address: the one of this deployment counts.
    living = sorted((i for i in found if not i.is_deleted), key=lambda i: i.deployment == deployment)
    by_email = {identity.email: identity for identity in living}
    by_id = {identity.id: identity for identity in found}
    with backends.database().read(grant) as connection:
        taken = demo_data.taken_ids(connection, [*ids, *by_id])
    if emptied:
        taken &= {operator.id}
    rules = _Rules(deployment, by_email, by_id, taken, untouched)
    differences = compare.differences(data, stored)
    users = tuple(map(rules.of, differences))
    if rules.refused:
        raise _taken(rules.refused)
    changes = compare.changes_of(data, stored, differences, operator=operator.email, names_owners=True)
    chosen = {plan.wanted.email: plan.id for plan in users}
    kept = tuple(change for change in changes if change.use_case != "orgs.update")
    organizations = tuple(_organization(o, stored) for o in data.organizations)
    return SeedPlan(organizations, users, Changes(kept, operator.email, REASON, ids=chosen))


def _identities(
    backends: Backends,
    grant: Grant,
    users: Sequence[DeclaredUser],
    stored: Mapping[str, StoredUser],
    ids: Sequence[uuid.UUID],
) -> list[StoredIdentity]:
    """Return the identities that have one of the addresses, or one of the planned ids."""
    from bazar_cli.adapters.postgres.users import identities

    emails = {user.email for user in users}
    wanted = {*ids, *(user.id for user in stored.values())}
    with backends.database().read(grant) as connection:
        if identities.readable(connection, grant.session_id):
            return identities.stored(connection, emails, wanted)
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
class _Rules:
    """Decides on users one by one; `refused` are the addresses with a foreign identity at Supabase."""

    deployment: uuid.UUID
    by_email: Mapping[str, StoredIdentity]
    by_id: Mapping[uuid.UUID, StoredIdentity]
    taken: frozenset[uuid.UUID]
    untouched: frozenset[uuid.UUID]
    refused: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    now: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    def of(self, found: UserDifference) -> UserPlan:
        """Return the plan of a user, and leave in the difference only the changes that are made."""
        if found.stored is None:
            return self._missing(found)
        plan = self._there(found, found.stored)
        if plan.outcome is not Outcome.COMPLETED:
            found.changes.clear()
        return plan

    def _missing(self, found: UserDifference) -> UserPlan:
        """Plan a user without a row: to be created, or taken back with an existing identity."""
        user = found.user
        identity = self.by_email.get(user.email)
        if identity is None:
            return UserPlan(user, self._free_id(user.email), Outcome.CREATED)
        if identity.deployment is None:
            self.refused.append((user.email, "an identity that bazar did not create"))
        elif identity.deployment != self.deployment:
            self.refused.append((user.email, "the identity of another Bazar"))
        elif identity.id in self.taken:
            self.refused.append((user.email, "the identity of a user with another address here"))
        if identity.is_banned(self.now) and user.state is UserState.ACTIVE:
            found.changes.append(_lift_ban(user))
        return UserPlan(user, identity.id, Outcome.TAKEN_BACK)

    def _free_id(self, email: str) -> uuid.UUID:
        """Return the fixed id of this address; another one if a user who changed their address has it."""
        found = seed_id(self.deployment, email)
        return time_ordered_uuid() if found in self.taken or found in self.by_id else found

    def _there(self, found: UserDifference, stored: StoredUser) -> UserPlan:
        """Plan a user with a row: as in the data, incomplete from an earlier run, or with other values."""
        plan = UserPlan(found.user, stored.id, Outcome.EXISTING)
        different = _different(found, stored)
        if self._is_banned(found.user, stored):
            found.changes.append(_lift_ban(found.user))
        kinds = {change.use_case for change in found.changes}
        untouched = stored.id in self.untouched
        incomplete = {
            "organizations": "orgs.members.add" in kinds,
            "state": not kinds.isdisjoint({"users.suspend", "users.restore"}),
        }
        if stored.pending is not None and not (untouched and _is_unfinished(found.user, stored)):
            return replace(plan, outcome=Outcome.DIFFERS, note=f"in the middle of another change ({stored.pending})")
        if different or (any(incomplete.values()) and not untouched):
            different += [name for name, is_so in incomplete.items() if is_so and name not in different]
            return replace(plan, outcome=Outcome.DIFFERS, note=f"another {' and '.join(different)}")
        if stored.pending is None and stored.id not in self.by_id:
            return replace(plan, outcome=Outcome.DIFFERS, note="no identity at Supabase")
        return replace(plan, outcome=Outcome.COMPLETED) if found.changes else plan

    def _is_banned(self, user: DeclaredUser, stored: StoredUser) -> bool:
        """Whether an active user was taken back with a ban of bazar.

        A shorter ban was set by another program, and ends by itself.
        """
        identity = self.by_id.get(stored.id)
        banned = identity is not None and identity.is_banned_for_good(self.now)
        return banned and stored.pending is None and user.state is stored.state is UserState.ACTIVE


def _different(found: UserDifference, stored: StoredUser) -> list[str]:
    """Return the values that an interrupted run cannot explain."""
    kinds = {change.use_case for change in found.changes}
    roles = {m.slug: m.role for m in found.user.organizations}
    different = {
        "name": "users.update" in kinds,
        "plan": "plans.assign" in kinds,
        "organizations": any(roles.get(slug) is not role for slug, role in stored.roles.items()),
        "state": stored.state is UserState.SUSPENDED and found.user.state is UserState.ACTIVE,
    }
    return [name for name, differs in different.items() if differs]


def _is_unfinished(user: DeclaredUser, stored: StoredUser) -> bool:
    """Whether the pending change leads to the values of the data."""
    if stored.pending is Pending.CREATE:
        return not stored.adopted and len(stored.roles) <= 1
    return stored.pending is (Pending.SUSPEND if user.state is UserState.SUSPENDED else Pending.RESTORE)


def _lift_ban(user: DeclaredUser) -> Change:
    return Change("users.restore", user=user.email, before={"state": "banned"}, after={"state": "active"})


def _organization(wanted: DeclaredOrganization, stored: Stored) -> OrganizationPlan:
    found = stored.organizations.get(wanted.slug)
    if found is None:
        return OrganizationPlan(wanted, Outcome.CREATED)
    if found.name != wanted.name:
        return OrganizationPlan(wanted, Outcome.DIFFERS, "another name")
    return OrganizationPlan(wanted, Outcome.EXISTING)


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
