"""Foresee which changes `apply` would refuse: the rules of each command, asked of the planned state.

The changes are asked in the order in which they are made. A change that is allowed changes the planned state, also the
planned rights of the operator, before the next one is asked. Each service asks the same rules again on the locked row.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from bazar_cli.domain.authz import row_rules
from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Operator, Reach, Spec
from bazar_cli.domain.declared.changes import Change, Result, failed
from bazar_cli.domain.entities import BEING_CREATED_OR_DELETED, Membership, Pending, Plan, Role, User, UserState
from bazar_cli.domain.errors import BazarError, Conflict, Denied, NotFound
from bazar_cli.services import invariants
from bazar_cli.services.users.errors import organization_not_found, user_not_found, user_pending

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.connections import Connection
    from bazar_cli.services.apply.compare import Stored
    from bazar_cli.services.gate.gate import Gate

_TAKE_OWNERS = frozenset({"orgs.members.remove", "orgs.members.update", "users.suspend"})
_ANY = frozenset(Pending)
_BANS = frozenset({Pending.SUSPEND, Pending.RESTORE})
_EPOCH = datetime.fromtimestamp(0, timezone.utc)


@dataclass(frozen=True)
class Facts:
    """What the rules need to know of the stored rows beyond the comparison."""

    operator: Operator
    users: Mapping[str, User]
    """The users who are to be changed, by address, with all memberships."""
    organizations: Mapping[str, uuid.UUID]
    owners: Mapping[uuid.UUID, Collection[uuid.UUID]]
    """The active owners of organizations that may lose one."""
    superusers: frozenset[uuid.UUID]
    """The active superusers on Premium, where one of them may be lost."""
    taken: frozenset[str]
    """Addresses and slugs that exist, and that the operator cannot see."""


@dataclass(frozen=True)
class Denial:
    """A change that the operator may not make."""

    change: Change
    error: Denied


def read(connection: Connection, operator: Operator, stored: Stored, changes: Sequence[Change]) -> Facts:
    """Read from the snapshot of a comparison what the rules need to know of its changes."""
    from bazar_cli.adapters.postgres import declared, superusers
    from bazar_cli.adapters.postgres.users import users

    ids = {member.email: member.user_id for member in stored.members}
    ids |= {email: user.id for email, user in stored.users.items()}
    emails = {email for change in changes for email in (change.user, change.given("owner"))}
    named = {email: ids[email] for email in emails if email is not None and email in ids}
    found = users.with_all_memberships(connection, list(named.values())) if named else {}
    may_lose = {ids[c.user] for c in changes if c.use_case in _TAKE_OWNERS and c.user in ids}
    counts = any(change.use_case in {"users.suspend", "plans.assign"} for change in changes)
    taken = frozenset[str]()
    if not operator.is_superuser:
        new = [c.user for c in changes if c.use_case == "users.create" and c.user and c.user not in ids]
        slugs = [c.organization for c in changes if c.use_case == "orgs.create" and c.organization]
        taken = declared.taken_addresses(connection, new) | declared.taken_slugs(connection, slugs)
    return Facts(
        operator,
        {user.email: user for user in found.values()},
        {m.slug: m.organization_id for user in found.values() for m in user.organizations}
        | {slug: organization.id for slug, organization in stored.organizations.items()},
        declared.owners(connection, may_lose) if may_lose else {},
        superusers.all_active(connection) if counts else frozenset(),
        taken,
    )


@dataclass(frozen=True)
class _Place:
    id: uuid.UUID
    slug: str


@dataclass(frozen=True)
class _PlannedRights:
    """The rights that earlier changes leave to the operator."""

    operator: Operator

    @property
    def reach(self) -> Reach:
        return Reach(self.operator.is_superuser, self.operator.id, self.operator.memberships)

    def role_in(self, organization_id: uuid.UUID) -> Role | None:
        return self.operator.role_in(organization_id)


class Judge:
    """Asks the rules for one change after the other, and keeps the planned state.

    Parameters: `call_of` returns the use case of a change with its request, for the gate.
    """

    def __init__(self, gate: Gate, facts: Facts, call_of: Callable[[Change], tuple[Spec, object]]) -> None:
        self.denials: list[Denial] = []
        self._gate = gate
        self._call_of = call_of
        self._rights = _PlannedRights(facts.operator)
        self._had = facts.operator
        self._users = dict(facts.users)
        self._places = {slug: _Place(found, slug) for slug, found in facts.organizations.items()}
        self._owners = {found: set(owners) for found, owners in facts.owners.items()}
        self._superusers = set(facts.superusers)
        self._taken = facts.taken
        self._failed: set[str | None] = set()
        """Users and organizations that cannot be created."""

    @property
    def operator(self) -> Operator:
        """The operator as the changes leave them."""
        return self._rights.operator

    def results(self, changes: Iterable[Change]) -> tuple[Result, ...]:
        """Return for each change, in the order in which they are made, whether it is planned or would fail."""
        return tuple(map(self._judged, changes))

    def _judged(self, change: Change) -> Result:
        try:
            self._ask(change)
        except Denied as denied:
            self.denials.append(Denial(change, denied))
            return self._fails(change, denied)
        except (Conflict, NotFound) as error:
            return self._fails(change, error)
        return Result(change)

    def _fails(self, change: Change, error: BazarError) -> Result:
        if change.use_case in {"users.create", "orgs.create"}:
            self._failed.add(change.user or change.organization)
        return failed(change, error)

    def _ask(self, change: Change) -> None:
        """Ask the rules of one change, and make it in the planned state. Raises: Denied; Conflict; NotFound."""
        needed = (change.user, change.organization, change.given("organization"))
        missing = next((one for one in needed if one is not None and one in self._failed), None)
        if missing is not None:
            raise Conflict("apply.depends", f"{missing} could not be created")
        if self._rights.operator is not self._had:
            # The gate has allowed it with the rights of before.
            denial = self._gate.foresee(self._rights.operator, *self._call_of(change))
            if denial is not None:
                raise Denied(denial.code, denial.message, hint=denial.hint, details=denial.details)
        match change.use_case:
            case "orgs.create" | "orgs.update":
                self._ask_organization(change)
            case "plans.grant" | "plans.revoke":
                self._ask_plan(change)
            case "users.create":
                self._ask_creation(change)
            case use_case:
                self._ask_user(use_case, change, self._users[change.user or ""])

    # -- organizations and plans -------------------------------------------------------------------------

    def _ask_organization(self, change: Change) -> None:
        slug = change.organization or ""
        if change.use_case == "orgs.update":
            row_rules.may_write_organization(self._rights, self._place(slug), Permission.ORGS_UPDATE)
            return
        if slug in self._taken:
            raise Conflict("orgs.slug_exists", f"an organization with the slug {slug} already exists")
        place = self._places[slug] = _Place(uuid.uuid4(), slug)
        owner, mine = change.new("owner"), self._rights.operator
        if owner in self._failed or owner == mine.email:
            self._has_roles(mine, place, Role.OWNER)
        else:
            self._join(self._users[owner], place, Role.OWNER)

    def _ask_plan(self, change: Change) -> None:
        plan, grants = Plan(change.plan or ""), change.use_case == "plans.grant"
        permission = Permission(change.new("permission") if grants else change.old("permission"))
        if not grants:
            invariants.keep_premium(plan, permission)
        operator = self._rights.operator
        present = operator.plans.get(plan, frozenset())
        after = present | {permission} if grants else present - {permission}
        self._rights = _PlannedRights(replace(operator, plans={**operator.plans, plan: after}))

    # -- users -------------------------------------------------------------------------------------------

    def _ask_creation(self, change: Change) -> None:
        email, slug = change.user or "", change.given("organization")
        place = None if slug is None else self._place(slug)
        role = Role(change.given("role") or Role.MEMBER)
        row_rules.may_create_user(self._rights, place, role)
        if email in self._taken:
            raise Conflict("users.email_exists", f"a user with the email {email} exists already")
        begun = self._users.get(email)
        if begun is not None:
            self._put(replace(begun, pending=None))
            return
        plan = Plan(change.given("plan") or Plan.FREE)
        memberships = () if place is None else (Membership(place.id, place.slug, role),)
        name = change.given("name")
        self._put(
            User(uuid.uuid4(), email, name, plan, UserState.ACTIVE, None, False, memberships, _EPOCH, _EPOCH),
        )

    def _ask_user(self, use_case: str, change: Change, user: User) -> None:
        if use_case.startswith("orgs.members."):
            self._ask_membership(use_case, change, user)
            return
        rights = self._rights
        self._see(user)
        match use_case:
            case "users.update":
                row_rules.may_write_user(rights, user)
                _refuse_pending(user, _ANY)
            case "users.restore":
                row_rules.may_write_user(rights, user)
                _refuse_pending(user, _ANY - _BANS - {Pending.DELETE})
                self._put(replace(user, state=UserState.ACTIVE, pending=None))
            case "users.suspend":
                row_rules.not_oneself(rights, user, "suspend")
                row_rules.may_write_user(rights, user)
                _refuse_pending(user, _ANY - _BANS)
                if user.state is UserState.ACTIVE:
                    self._keep_superuser(user)
                    self._keep_owner(user, [m for m in user.organizations if m.role is Role.OWNER])
                self._put(replace(user, state=UserState.SUSPENDED, pending=None))
            case "plans.assign":
                row_rules.may_write_user(rights, user)
                _refuse_pending(user, BEING_CREATED_OR_DELETED)
                self._keep_superuser(user)
                self._put(replace(user, plan=Plan(change.new("plan"))))
            case unknown:
                raise ValueError(f"{unknown} is not a use case of declared state")

    def _ask_membership(self, use_case: str, change: Change, user: User) -> None:
        place = self._place(change.organization or "")
        current = next((m for m in user.organizations if m.organization_id == place.id), None)
        wanted = None if use_case == "orgs.members.remove" else Role(change.new("role"))
        if current is None and wanted is not None:
            row_rules.may_give_role(self._rights, place.id, place.slug, wanted)
            self._see(user)
            _refuse_pending(user, BEING_CREATED_OR_DELETED)
            self._join(user, place, wanted)
            return
        assert current is not None, "a member who is removed is one"
        self._see(user)
        _refuse_pending(user, BEING_CREATED_OR_DELETED)
        if wanted is None:
            row_rules.may_remove_member(self._rights, user.id, place, current.role)
        else:
            row_rules.may_change_member(self._rights, user.id, place, current.role, wanted)
        if current.role is Role.OWNER:
            self._keep_owner(user, [current])
        left = tuple(m for m in user.organizations if m is not current)
        self._put(replace(user, organizations=left))
        if wanted is not None:
            self._join(self._users[user.email], place, wanted)

    # -- the planned state -------------------------------------------------------------------------------

    def _place(self, slug: str) -> _Place:
        """Return an organization that the operator can still see. Raises: NotFound."""
        place, operator = self._places[slug], self._rights.operator
        if not operator.is_superuser and operator.role_in(place.id) is None:
            raise organization_not_found(slug)
        return place

    def _see(self, user: User) -> None:
        """Check that the operator can still see a user. Raises: NotFound."""
        operator = self._rights.operator
        if not operator.is_superuser and operator.id != user.id:
            seen = self._rights.reach.organization_ids
            if seen.isdisjoint(m.organization_id for m in user.organizations):
                raise user_not_found(user.email)

    def _keep_superuser(self, user: User) -> None:
        if user.is_active_superuser and not self._superusers - {user.id}:
            raise invariants.last_superuser(user)

    def _keep_owner(self, user: User, owned: Iterable[Membership]) -> None:
        alone = [m.slug for m in owned if not self._owners.get(m.organization_id, set()) - {user.id}]
        if alone:
            raise invariants.last_owner(user, tuple(sorted(alone)))

    def _join(self, user: User, place: _Place, role: Role) -> None:
        self._put(replace(user, organizations=(*user.organizations, Membership(place.id, place.slug, role))))

    def _put(self, user: User) -> None:
        """Keep a user as a change leaves them: also as an owner, as a superuser and as the operator."""
        before = self._users.get(user.email)
        self._users[user.email] = user
        for membership in before.organizations if before is not None else ():
            self._owners.setdefault(membership.organization_id, set()).discard(user.id)
        if user.state is UserState.ACTIVE and user.pending not in BEING_CREATED_OR_DELETED:
            for membership in user.organizations:
                if membership.role is Role.OWNER:
                    self._owners.setdefault(membership.organization_id, set()).add(user.id)
        self._superusers.discard(user.id)
        if user.is_active_superuser:
            self._superusers.add(user.id)
        operator = self._rights.operator
        if user.id == operator.id and (user.plan, user.organizations) != (operator.plan, operator.memberships):
            self._rights = _PlannedRights(replace(operator, plan=user.plan, memberships=user.organizations))

    def _has_roles(self, operator: Operator, place: _Place, role: Role) -> None:
        """Let the operator join an organization, who may not be among the users of the changes."""
        if operator.email in self._users:
            self._join(self._users[operator.email], place, role)
            return
        self._owners.setdefault(place.id, set()).add(operator.id)
        joined = (*operator.memberships, Membership(place.id, place.slug, role))
        self._rights = _PlannedRights(replace(operator, memberships=joined))


def _refuse_pending(user: User, kinds: Collection[Pending]) -> None:
    if user.pending is not None and user.pending in kinds:
        raise user_pending(user.email, user.pending)
