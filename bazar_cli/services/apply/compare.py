"""Compare a declared state with Postgres: which changes lead to it, in the order in which they can be made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.permissions import Permission, in_order
from bazar_cli.domain.authz.spec import Reach
from bazar_cli.domain.declared.changes import Change, Row, UndeclaredMember, lowers_plan
from bazar_cli.domain.declared.reader import Finding, Findings
from bazar_cli.domain.declared.state import (
    ABSENT,
    DeclaredOrganization,
    DeclaredPlan,
    DeclaredState,
    DeclaredUser,
)
from bazar_cli.domain.entities import Pending, Plan, Role, UserState

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.connections import Connection
    from bazar_cli.adapters.postgres.declared import StoredMember, StoredOrganization, StoredPlan, StoredUser

STAGES: Mapping[str, Callable[[Change], bool]] = {
    "permissions": lambda change: change.use_case == "plans.grant",
    "owners": lambda change: change.use_case == "users.create" and change.first,
    "organizations": lambda change: change.use_case == "orgs.create",
    "users": lambda change: change.use_case == "users.create",
    "restored users": lambda change: change.use_case == "users.restore",
    "names": lambda change: change.use_case in {"orgs.update", "users.update"},
    "memberships": lambda change: change.use_case == "orgs.members.add",
    "raised roles": lambda change: change.use_case == "orgs.members.update" and not change.takes_away,
    "raised plans": lambda change: change.use_case == "plans.assign" and not change.takes_away,
    "lowered roles": lambda change: change.use_case == "orgs.members.update" and not change.last,
    "removed members": lambda change: change.use_case == "orgs.members.remove" and not change.last,
    "suspended users": lambda change: change.use_case == "users.suspend",
    "revoked permissions": lambda change: change.use_case == "plans.revoke",
    "lowered plans": lambda change: change.use_case == "plans.assign" and not change.last,
    "own roles": lambda change: change.use_case != "plans.assign",
    "own plan": lambda change: change.use_case == "plans.assign",
}
"""The changes of each stage, in order.

What gives comes before what takes, so that no organization lacks an owner. What takes rights from the operator comes
last, because the other changes need these rights.
"""


@dataclass(frozen=True)
class Stored:
    """What Postgres has of the things that a declared state names."""

    users: Mapping[str, StoredUser]
    organizations: Mapping[str, StoredOrganization]
    members: Sequence[StoredMember]
    plans: Mapping[Plan, StoredPlan]

    @cached_property
    def by_membership(self) -> Mapping[tuple[str | None, str | None], StoredMember]:
        """The members by slug and address."""
        return {(m.slug, m.email): m for m in self.members}


@dataclass
class UserDifference:
    """A declared user, the stored one, and the changes that lead from one to the other."""

    user: DeclaredUser
    stored: StoredUser | None
    changes: list[Change] = field(default_factory=list[Change])


def read(connection: Connection, reach: Reach, state: DeclaredState) -> Stored:
    """Read from one snapshot what a declared state names."""
    from bazar_cli.adapters.postgres import declared

    return Stored(
        declared.users(connection, reach, [user.email for user in state.users]),
        declared.organizations(connection, reach, [o.slug for o in state.organizations]),
        declared.members(connection, reach, state.with_members),
        declared.plans(connection, [p.plan for p in state.plans if p.permissions is not None]),
    )


def differences(state: DeclaredState, stored: Stored) -> list[UserDifference]:
    """Return the changes of each declared user, in the order of the file."""
    return [_of_user(user, stored.users.get(user.email)) for user in state.users]


def changes_of(
    state: DeclaredState,
    stored: Stored,
    users: Sequence[UserDifference],
    *,
    operator: str,
    names_owners: bool,
    pruned: Iterable[UndeclaredMember] = (),
) -> tuple[Change, ...]:
    """Return all changes in the order in which they can be made.

    Parameters: `users` are the changes of users; `operator` is the address of the operator, who becomes the owner of a
    new organization unless `names_owners` allows to name another one; `pruned` are members to remove.
    """
    of_users = {difference.user.email: list(difference.changes) for difference in users}
    new = {o.slug: o for o in state.organizations if o.slug not in stored.organizations}
    slugs: set[str | None] = {*new}
    candidates = users if names_owners else [u for u in users if u.user.email == operator]
    owners = _owners(candidates, of_users, slugs)
    _leave_out_operator(operator, users, of_users, slugs - owners.keys())
    their_addresses = {*owners.values()}
    for email, theirs in of_users.items():
        is_owner = email in their_addresses
        _begin_with_membership(theirs, slugs if is_owner else (), is_owner=is_owner)
    changes = [
        *(
            Change("orgs.create", o.slug, after={"name": o.name, "owner": owners.get(o.slug, operator)})
            for o in new.values()
        ),
        *(change for o in state.organizations for change in _of_organization(o, stored.organizations.get(o.slug))),
        *(change for theirs in of_users.values() for change in theirs),
        *(
            Change("orgs.members.remove", m.organization, m.user, before={"role": m.role.value}, takes_away=True)
            for m in pruned
        ),
        *(change for plan in state.plans for change in _of_plan(plan, stored.plans.get(plan.plan))),
    ]
    marked = (replace(c, last=True) if c.takes_away and c.user == operator else c for c in changes)
    return tuple(change for stage in staged(marked).values() for change in stage)


def staged(changes: Iterable[Change]) -> dict[str, list[Change]]:
    """Return changes by their stage, in the order of the stages."""
    found: dict[str, list[Change]] = {stage: [] for stage in STAGES}
    for change in changes:
        found[next(stage for stage, holds in STAGES.items() if holds(change))].append(change)
    return found


def refuse_unknown(state: DeclaredState, stored: Stored) -> None:
    """Find what the file needs and neither it nor Postgres has. Raises: Findings."""
    found = [
        Finding(f"member {user.email}", "there is no such user; name the user under users to create it", user.at)
        for user in state.users
        if user.must_exist and user.email not in stored.users
    ]
    found += [
        Finding(f"organization {o.slug}", "it does not exist, and a new organization needs a name", o.at)
        for o in state.organizations
        if o.name is None and o.slug not in stored.organizations
    ]
    if found:
        raise Findings(found)


def not_in_file(state: DeclaredState, stored: Stored) -> tuple[UndeclaredMember, ...]:
    """Return the members whom the file does not name, of the organizations whose members it names."""
    named = {(m.slug, user.email) for user in state.users for m in user.organizations}
    return tuple(UndeclaredMember(m.slug, m.email, m.role) for m in stored.members if (m.slug, m.email) not in named)


def count_existing(stored: Stored) -> int:
    """Count the records from which changes may take something away: users, memberships, permissions of plans."""
    permissions = sum(len(plan.permissions) for plan in stored.plans.values())
    return len(stored.users) + len(stored.members) + permissions


def rows_of(changes: Iterable[Change], stored: Stored) -> tuple[Row, ...]:
    """Return the rows that the changes rely on, each once: of users, organizations, memberships and plans."""
    found = {row.key: row for change in changes for row in _rows_of(change, stored)}
    return tuple(found[key] for key in sorted(found))


def _rows_of(change: Change, stored: Stored) -> Iterator[Row]:
    email, slug = change.user or change.given("owner"), change.organization or change.given("organization")
    member = stored.by_membership.get((slug, email))
    if email is not None:
        user = stored.users.get(email)
        if user is not None:
            yield Row("user", email, str(user.id), user.updated_at, user.content)
        else:
            yield Row("user", email, None if member is None else str(member.user_id))
    if slug is not None:
        organization = stored.organizations.get(slug)
        if organization is None:
            yield Row("organization", slug)
        else:
            yield Row("organization", slug, str(organization.id), organization.updated_at, organization.content)
    if email is not None and slug is not None:
        ids = None if member is None else f"{member.organization_id}/{member.user_id}"
        yield Row("member", f"{email} of {slug}", ids, None, member and member.content)
    if change.plan is not None:
        plan = stored.plans.get(Plan(change.plan))
        yield Row("plan", change.plan, plan and plan.name.value, None, plan and plan.content)


# -- users ------------------------------------------------------------------------------------------------


def _of_user(user: DeclaredUser, stored: StoredUser | None) -> UserDifference:
    found = UserDifference(user, stored)
    if stored is None:
        values = {
            "name": None if user.name is ABSENT else user.name,
            "plan": (user.plan or Plan.FREE).value,
        }
        found.changes.append(Change("users.create", user=user.email, after=values))
        if user.state is UserState.SUSPENDED:
            found.changes.append(_state(user.email, UserState.ACTIVE, UserState.SUSPENDED))
    else:
        found.changes += [*_unfinished(user, stored), *_of_values(user, stored)]
    found.changes += _of_memberships(user, {} if stored is None else stored.roles)
    return found


def _unfinished(user: DeclaredUser, stored: StoredUser) -> Iterator[Change]:
    """Yield the change that an interrupted run left pending, if no other change of this run finishes it."""
    pending = stored.pending
    if pending is Pending.CREATE and not stored.adopted:
        membership = next(iter(stored.roles.items()), None)
        values = {"pending": None, "name": stored.name, "plan": stored.plan.value}
        if membership is not None:
            values |= {"organization": membership[0], "role": membership[1].value}
        yield Change("users.create", user=user.email, before={"pending": pending.value}, after=values)
    elif (pending is Pending.SUSPEND or pending is Pending.RESTORE) and user.state in {None, stored.state}:
        use_case = "users.suspend" if stored.state is UserState.SUSPENDED else "users.restore"
        yield Change(use_case, user=user.email, before={"pending": pending.value}, after={"pending": None})


def _of_values(user: DeclaredUser, stored: StoredUser) -> Iterator[Change]:
    if user.name is not ABSENT and user.name != stored.name:
        yield Change("users.update", user=user.email, before={"name": stored.name}, after={"name": user.name})
    if user.plan not in {None, stored.plan}:
        assert user.plan is not None, "a plan that is absent is not managed"
        yield Change(
            "plans.assign",
            user=user.email,
            before={"plan": stored.plan.value},
            after={"plan": user.plan.value},
            takes_away=lowers_plan(stored.plan, user.plan),
        )
    if user.state not in {None, stored.state}:
        assert user.state is not None, "a state that is absent is not managed"
        yield _state(user.email, stored.state, user.state, exists=True)


def _state(email: str, before: UserState, after: UserState, *, exists: bool = False) -> Change:
    suspends = after is UserState.SUSPENDED
    return Change(
        "users.suspend" if suspends else "users.restore",
        user=email,
        before={"state": before.value},
        after={"state": after.value},
        takes_away=suspends and exists,
    )


def _of_memberships(user: DeclaredUser, roles: Mapping[str, Role]) -> Iterator[Change]:
    for membership in user.organizations:
        current, wanted = roles.get(membership.slug), membership.role
        if current is None:
            role = wanted or Role.MEMBER
            yield Change("orgs.members.add", membership.slug, user.email, after={"role": role.value})
        elif wanted not in {None, current}:
            assert wanted is not None, "a role that is absent is not managed"
            yield Change(
                "orgs.members.update",
                membership.slug,
                user.email,
                before={"role": current.value},
                after={"role": wanted.value},
                takes_away=wanted.rank < current.rank,
            )


def _begin_with_membership(changes: list[Change], left_out: Collection[str | None], *, is_owner: bool) -> None:
    """Let a new user be created with the first membership, so that an admin of that organization may create them.

    Parameters: `left_out` are organizations that do not exist yet when this user is created.
    """
    created = next((change for change in changes if change.use_case == "users.create"), None)
    if created is None:
        return
    if created.before is not None:
        # An unfinished creation is finished with the membership that it began with.
        changes[changes.index(created)] = replace(created, first=is_owner)
        return
    first = next((c for c in changes if c.use_case == "orgs.members.add" and c.organization not in left_out), None)
    values = dict(created.after or {})
    if first is not None:
        changes.remove(first)
        values |= {"organization": first.organization, "role": first.new("role")}
    changes[changes.index(created)] = replace(created, after=values, first=is_owner)


# -- organizations and plans ------------------------------------------------------------------------------


def _owners(
    users: Sequence[UserDifference], changes: Mapping[str, list[Change]], slugs: Collection[str | None]
) -> dict[str | None, str]:
    """Return the first active owner whom the file declares for each new organization.

    The creation of the organization makes them its owner, so the change that adds them is taken out.
    """
    found: dict[str | None, str] = {}
    for difference in users:
        email = difference.user.email
        if _state_after(difference) is not UserState.ACTIVE:
            continue
        for change in tuple(changes[email]):
            owns = change.use_case == "orgs.members.add" and change.new("role") == Role.OWNER.value
            if owns and change.organization in slugs and change.organization not in found:
                found[change.organization] = email
                changes[email].remove(change)
    return found


def _leave_out_operator(
    operator: str,
    users: Sequence[UserDifference],
    changes: Mapping[str, list[Change]],
    slugs: Collection[str | None],
) -> None:
    """Take out the changes that add the operator with any role to organizations of which they become the owner."""
    mine = next((u.user for u in users if u.user.email == operator), None)
    any_role = {m.slug for m in mine.organizations if m.role is None and m.slug in slugs} if mine else ()
    for change in tuple(changes.get(operator, ())):
        if change.use_case == "orgs.members.add" and change.organization in any_role:
            changes[operator].remove(change)


def _state_after(difference: UserDifference) -> UserState:
    stored = difference.stored
    return difference.user.state or (UserState.ACTIVE if stored is None else stored.state)


def _of_organization(wanted: DeclaredOrganization, stored: StoredOrganization | None) -> Iterator[Change]:
    if stored is not None and wanted.name not in {None, stored.name}:
        yield Change("orgs.update", wanted.slug, before={"name": stored.name}, after={"name": wanted.name})


def _of_plan(wanted: DeclaredPlan, stored: StoredPlan | None) -> Iterator[Change]:
    if wanted.permissions is None:
        return
    present = frozenset[Permission]() if stored is None else stored.permissions
    for name in in_order(p.value for p in wanted.permissions - present):
        yield Change("plans.grant", plan=wanted.plan.value, after={"permission": name})
    for name in in_order(p.value for p in present if p not in wanted.permissions):
        yield Change("plans.revoke", plan=wanted.plan.value, before={"permission": name}, takes_away=True)
