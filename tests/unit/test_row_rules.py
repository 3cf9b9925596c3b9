"""The row rules: where an operator may write, and what a verdict says."""

from __future__ import annotations

import re
import shlex
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from functools import lru_cache, partial

import pytest

from bazar_cli.domain import audit, plans
from bazar_cli.domain.authz import explain, row_rules
from bazar_cli.domain.authz.permissions import SEEDED_PLANS, Permission
from bazar_cli.domain.authz.spec import Grant, Operator, Sealed, Spec
from bazar_cli.domain.db import migrations
from bazar_cli.domain.entities import Membership, Organization, Pending, Plan, Role, User, UserState
from bazar_cli.domain.errors import Denied, ExitCode
from bazar_cli.domain.orgs import members
from bazar_cli.domain.orgs import organizations as orgs
from bazar_cli.domain.orgs.organizations import CreateOrganization
from bazar_cli.domain.users import changes as user_changes
from bazar_cli.domain.users import users
from bazar_cli.domain.users.changes import CreateUser, UpdateUser
from tests.support.people import Org, an_operator, an_org, decided, granted
from tests.support.tree import ALL, command

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
ACME, BETA = an_org("acme"), an_org("beta")
NOBODY: Mapping[Org, Role] = {}


def grant_of(operator: Operator) -> Grant:
    return granted(operator, user_changes.DELETE)


def a_user(
    roles: Mapping[Org, Role] = NOBODY,
    *,
    user_id: uuid.UUID | None = None,
    plan: Plan = Plan.FREE,
    superuser: bool = False,
    state: UserState = UserState.ACTIVE,
    pending: Pending | None = None,
) -> User:
    memberships = tuple(Membership(org.id, org.slug, role) for org, role in roles.items())
    return User(
        user_id or uuid.uuid4(), "ada@example.com", None, plan, state, pending, superuser, memberships, NOW, NOW
    )


def organization(org: Org) -> Organization:
    return Organization(org.id, org.slug, "Acme", 1, NOW, NOW)


def code_of(denied: pytest.ExceptionInfo[Denied]) -> str:
    assert denied.value.exit_code is ExitCode.DENIED
    return denied.value.code


# -- giving a role ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "role"),
    [
        (Role.OWNER, Role.OWNER),
        (Role.OWNER, Role.ADMIN),
        (Role.OWNER, Role.MEMBER),
        (Role.ADMIN, Role.MEMBER),
    ],
)
def test_a_role_may_be_given_below_ones_own_and_by_owners_up_to_it(own: Role, role: Role) -> None:
    grant = grant_of(an_operator({ACME: own}))

    row_rules.may_give_role(grant, ACME.id, ACME.slug, role)
    row_rules.may_create_user(grant, organization(ACME), role)


@pytest.mark.parametrize(
    ("own", "role"),
    [
        (Role.ADMIN, Role.ADMIN),
        (Role.ADMIN, Role.OWNER),
        (Role.MEMBER, Role.MEMBER),
        (Role.MEMBER, Role.ADMIN),
        (Role.MEMBER, Role.OWNER),
    ],
)
def test_nobody_gives_a_role_above_what_they_may(own: Role, role: Role) -> None:
    grant = grant_of(an_operator({ACME: own}))

    with pytest.raises(Denied) as denied:
        row_rules.may_create_user(grant, organization(ACME), role)

    assert code_of(denied) == "access.role"
    assert denied.value.message == f"you cannot make someone {role} of acme: your role is {own}"
    assert denied.value.details == {"organization": "acme", "role": role.value, "own_role": own.value}


def test_a_role_elsewhere_counts_for_nothing() -> None:
    grant = grant_of(an_operator({BETA: Role.OWNER}))

    with pytest.raises(Denied, match="you are not a member") as denied:
        row_rules.may_give_role(grant, ACME.id, ACME.slug, Role.MEMBER)

    assert code_of(denied) == "access.role"


@pytest.mark.parametrize("role", Role)
def test_superusers_give_any_role_anywhere(role: Role) -> None:
    row_rules.may_give_role(grant_of(an_operator(superuser=True)), ACME.id, ACME.slug, role)


def test_a_user_without_an_organization_is_created_by_superusers_only() -> None:
    row_rules.may_create_user(grant_of(an_operator(superuser=True)), None, Role.MEMBER)

    with pytest.raises(Denied) as denied:
        row_rules.may_create_user(grant_of(an_operator({ACME: Role.OWNER})), None, Role.MEMBER)

    assert code_of(denied) == "access.platform"


# -- writing a user -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "theirs"),
    [
        ({ACME: Role.OWNER}, {ACME: Role.ADMIN}),
        ({ACME: Role.OWNER}, {ACME: Role.MEMBER}),
        ({ACME: Role.ADMIN}, {ACME: Role.MEMBER}),
        ({ACME: Role.ADMIN, BETA: Role.OWNER}, {ACME: Role.MEMBER, BETA: Role.ADMIN}),
        ({ACME: Role.ADMIN, BETA: Role.MEMBER}, {ACME: Role.MEMBER}),
    ],
)
def test_a_user_is_written_by_a_higher_role_in_all_their_organizations(
    own: Mapping[Org, Role], theirs: Mapping[Org, Role]
) -> None:
    row_rules.may_write_user(grant_of(an_operator(own)), a_user(theirs))


@pytest.mark.parametrize(
    ("own", "theirs"),
    [
        ({ACME: Role.OWNER}, {ACME: Role.OWNER}),
        ({ACME: Role.ADMIN}, {ACME: Role.ADMIN}),
        ({ACME: Role.ADMIN}, {ACME: Role.OWNER}),
        ({ACME: Role.MEMBER}, {ACME: Role.MEMBER}),
        ({ACME: Role.OWNER}, {ACME: Role.MEMBER, BETA: Role.MEMBER}),
        ({ACME: Role.OWNER, BETA: Role.MEMBER}, {ACME: Role.MEMBER, BETA: Role.MEMBER}),
        ({BETA: Role.OWNER}, {ACME: Role.MEMBER}),
        ({}, {ACME: Role.MEMBER}),
    ],
)
def test_a_user_is_not_written_where_one_of_their_organizations_says_no(
    own: Mapping[Org, Role], theirs: Mapping[Org, Role]
) -> None:
    target = a_user(theirs)
    with pytest.raises(Denied) as denied:
        row_rules.may_write_user(grant_of(an_operator(own)), target)

    assert code_of(denied) == "access.role"
    assert denied.value.details == {"user_id": str(target.id)}


def test_a_user_without_organizations_is_written_by_superusers_only() -> None:
    row_rules.may_write_user(grant_of(an_operator(superuser=True)), a_user())

    with pytest.raises(Denied) as denied:
        row_rules.may_write_user(grant_of(an_operator({ACME: Role.OWNER})), a_user())

    assert code_of(denied) == "access.platform"


def test_superusers_are_written_by_superusers_only() -> None:
    target = a_user({ACME: Role.MEMBER}, superuser=True)

    row_rules.may_write_user(grant_of(an_operator(superuser=True)), target)
    with pytest.raises(Denied) as denied:
        row_rules.may_write_user(grant_of(an_operator({ACME: Role.OWNER})), target)

    assert code_of(denied) == "access.platform"


@pytest.mark.parametrize("roles", [{}, {ACME: Role.MEMBER}])
def test_everyone_may_write_themselves(roles: Mapping[Org, Role]) -> None:
    operator = an_operator(roles)

    row_rules.may_write_user(grant_of(operator), a_user(roles, user_id=operator.id))


def test_superusers_alone_choose_the_id_of_a_user() -> None:
    row_rules.may_choose_id(grant_of(an_operator(superuser=True)))

    with pytest.raises(Denied) as denied:
        row_rules.may_choose_id(grant_of(an_operator({ACME: Role.OWNER})))

    assert code_of(denied) == "access.platform"


def test_sessions_are_read_by_those_who_may_change_the_user() -> None:
    row_rules.may_read_sessions(grant_of(an_operator({ACME: Role.OWNER})), a_user({ACME: Role.ADMIN}))

    with pytest.raises(Denied, match="you need a higher role than theirs") as denied:
        row_rules.may_read_sessions(grant_of(an_operator({ACME: Role.ADMIN})), a_user({ACME: Role.ADMIN}))

    assert code_of(denied) == "access.role"


@pytest.mark.parametrize("kind", ["superuser", "oneself", "member"])
def test_a_user_is_seen_in_an_organization_that_is_kept(kind: str) -> None:
    operator = an_operator({ACME: Role.MEMBER}, superuser=kind == "superuser")
    grant, kept = grant_of(operator), list[tuple[uuid.UUID, Role | None]]()
    target = a_user({ACME: Role.MEMBER, BETA: Role.OWNER}, user_id=operator.id if kind == "oneself" else None)

    with grant.keeping_roles(lambda where, role: kept.append((where, role))):
        row_rules.may_see_user(grant, target)
    row_rules.may_see_user(grant, target)

    assert kept == ([(ACME.id, Role.MEMBER)] if kind == "member" else [])


@pytest.mark.parametrize("superuser", [True, False])
def test_nobody_deletes_themselves(superuser: bool) -> None:
    operator = an_operator(superuser=superuser)

    with pytest.raises(Denied, match="you cannot delete yourself") as denied:
        row_rules.not_oneself(grant_of(operator), a_user(user_id=operator.id), "delete")

    assert code_of(denied) == "access.oneself"


def test_others_are_not_oneself() -> None:
    row_rules.not_oneself(grant_of(an_operator()), a_user(), "delete")


def test_a_new_organization_belongs_to_the_operator() -> None:
    operator = an_operator()

    assert row_rules.owner_of_new_organization(grant_of(operator)) == operator.id


# -- verdicts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "org", "permission", "allowed", "reason"),
    [
        (a_user(), None, Permission.USERS_READ, True, "the plan Free has users:read"),
        (a_user(), None, Permission.FILES_EXECUTE, False, "Plus or Premium has it"),
        (a_user(plan=Plan.PLUS), None, Permission.FILES_EXECUTE, True, "the plan Plus has files:execute"),
        (a_user(plan=Plan.PLUS), None, Permission.USERS_CREATE, False, "Premium has it"),
        (a_user(plan=Plan.PREMIUM), None, Permission.DB_RESET, False, "only superusers may use it"),
        (a_user(plan=Plan.PREMIUM), None, Permission.PLANS_ASSIGN, False, "only superusers may use it"),
        (a_user(plan=Plan.PREMIUM, superuser=True), None, Permission.DB_RESET, True, "may use it everywhere"),
        (a_user(plan=Plan.FREE, superuser=True), None, Permission.DB_RESET, False, "Premium has it"),
        (a_user(plan=Plan.PREMIUM, superuser=True), ACME, Permission.ORGS_DELETE, True, "everywhere"),
        (a_user(state=UserState.SUSPENDED), None, Permission.USERS_READ, False, "ada@example.com is suspended"),
        (a_user(pending=Pending.DELETE), None, Permission.USERS_READ, False, "ada@example.com is being deleted"),
        (a_user(), ACME, Permission.USERS_READ, False, "ada@example.com is not a member of acme"),
        (a_user({BETA: Role.OWNER}), ACME, Permission.USERS_READ, False, "is not a member of acme"),
        (a_user({ACME: Role.MEMBER}), ACME, Permission.USERS_READ, True, "and member of acme may use it"),
        (a_user({BETA: Role.OWNER, ACME: Role.MEMBER}), ACME, Permission.USERS_READ, True, "and member of acme may"),
    ],
)
def test_a_verdict_gives_the_first_reason(
    user: User, org: Org | None, permission: Permission, allowed: bool, reason: str
) -> None:
    verdict = explain.verdict(user, organization(org) if org else None, permission, SEEDED_PLANS)

    assert (verdict.allowed, verdict.organization) == (allowed, org.slug if org else None)
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("permission", "least"),
    [
        (Permission.FILES_EXECUTE, Role.MEMBER),
        (Permission.MEMBERS_READ, Role.MEMBER),
        (Permission.USERS_CREATE, Role.ADMIN),
        (Permission.USERS_UPDATE, Role.ADMIN),
        (Permission.USERS_DELETE, Role.ADMIN),
        (Permission.MEMBERS_MANAGE, Role.ADMIN),
        (Permission.ORGS_UPDATE, Role.ADMIN),
        (Permission.ORGS_DELETE, Role.OWNER),
    ],
)
@pytest.mark.parametrize("role", Role)
def test_a_verdict_in_an_organization_asks_for_the_role(permission: Permission, least: Role, role: Role) -> None:
    user = a_user({ACME: role}, plan=Plan.PREMIUM)

    verdict = explain.verdict(user, organization(ACME), permission, SEEDED_PLANS)

    assert verdict.allowed is (role.rank >= least.rank)


def test_a_verdict_follows_the_stored_plan_table() -> None:
    verdict = explain.verdict(a_user(), None, Permission.USERS_READ, {Plan.FREE: frozenset()})

    assert verdict.reason == "the plan Free does not have users:read; no plan has it"


# -- every step ---------------------------------------------------------------------------------------------


def everyone() -> Iterator[User]:
    """A user of every kind: plan, role in acme or none, or in another one, superuser or not, in service or not."""
    for plan in Plan:
        for roles in ({}, {BETA: Role.MEMBER}, *({ACME: role} for role in Role)):
            for superuser in (False, True):
                for state, pending in (
                    (UserState.ACTIVE, None),
                    (UserState.ACTIVE, Pending.EMAIL),
                    (UserState.ACTIVE, Pending.DELETE),
                    (UserState.SUSPENDED, None),
                ):
                    yield a_user(roles, plan=plan, superuser=superuser, state=state, pending=pending)


def operator_of(user: User) -> Operator:
    return Operator(
        user.id,
        user.email,
        None,
        user.plan,
        user.state,
        user.pending,
        user.is_superuser,
        user.organizations,
        SEEDED_PLANS,
    )


Done = Callable[[Grant], bool]


def sees_acme(grant: Grant) -> bool:
    return grant.reach.everything or ACME.id in grant.reach.organization_ids


def writes_a_member(grant: Grant) -> bool:
    other = a_user({ACME: Role.MEMBER})
    row_rules.may_write_user(grant, other)
    row_rules.not_oneself(grant, other, "delete")
    return True


def creates_in_acme(grant: Grant) -> bool:
    row_rules.may_create_user(grant, organization(ACME), Role.MEMBER)
    return True


def manages_members_of_acme(grant: Grant) -> bool:
    """All three rules, each for the least of what `members:manage` is for: a member."""
    acme, other = organization(ACME), uuid.uuid4()
    row_rules.may_give_role(grant, ACME.id, ACME.slug, Role.MEMBER)
    row_rules.may_change_member(grant, other, acme, Role.MEMBER, Role.MEMBER)
    row_rules.may_remove_member(grant, other, acme, Role.MEMBER)
    return True


def writes_acme(permission: Permission) -> Done:
    def done(grant: Grant) -> bool:
        row_rules.may_write_organization(grant, organization(ACME), permission)
        return True

    return done


IN_ACME: Mapping[Permission, tuple[Spec, Done]] = {
    Permission.USERS_READ: (users.GET, sees_acme),
    Permission.USERS_CREATE: (user_changes.CREATE, creates_in_acme),
    Permission.USERS_UPDATE: (user_changes.UPDATE, writes_a_member),
    Permission.USERS_DELETE: (user_changes.DELETE, writes_a_member),
    Permission.ORGS_READ: (orgs.GET, sees_acme),
    Permission.ORGS_UPDATE: (orgs.UPDATE, writes_acme(Permission.ORGS_UPDATE)),
    Permission.ORGS_DELETE: (orgs.DELETE, writes_acme(Permission.ORGS_DELETE)),
    Permission.MEMBERS_READ: (members.LIST, sees_acme),
    Permission.MEMBERS_MANAGE: (members.ADD, manages_members_of_acme),
}
ANYWHERE: Mapping[Permission, Spec] = {
    Permission.USERS_READ: users.LIST,
    Permission.ORGS_READ: orgs.LIST,
    Permission.ORGS_CREATE: orgs.CREATE,
    Permission.PLANS_READ: plans.EXPLAIN,
    Permission.PLANS_ASSIGN: plans.ASSIGN,
    Permission.PLANS_MANAGE: plans.REVOKE,
    Permission.AUDIT_READ: audit.LIST,
    Permission.DB_READ: migrations.STATUS,
    Permission.DB_MIGRATE: migrations.MIGRATE,
}


def really_may(user: User, spec: Spec, done: Done) -> bool:
    """Ask the gate and the row rules themselves."""
    asked = {orgs.CREATE.name: CreateOrganization("New"), user_changes.UPDATE.name: UpdateUser("ada@example.com")}
    request = asked.get(spec.name, CreateUser("new@example.com", organization=ACME.slug))
    decision = decided(operator_of(user), spec, request)
    try:
        return isinstance(decision, Grant) and done(decision)
    except Denied:
        return False


def test_every_step_agrees_with_the_verdict_and_with_what_is_really_decided() -> None:
    compared = 0
    for user in everyone():
        for permission in Permission:
            for org in (None, organization(ACME)):
                found = explain.explanation(user, org, permission, SEEDED_PLANS)
                noes = [step.why for step in found.steps if not step.ok]
                assert found.verdict == explain.verdict(user, org, permission, SEEDED_PLANS)
                assert found.verdict.allowed is (not noes)
                assert not noes or found.verdict.reason == noes[0]
                assert bool(found.changes) is bool(noes)
                assert [s.name for s in found.steps] == ["user", "state", "plan", "superuser", "organization", "role"]
                if org is None and permission in ANYWHERE:
                    assert found.verdict.allowed is really_may(user, ANYWHERE[permission], lambda _: True), found
                    compared += 1
                if org is not None and permission in IN_ACME:
                    assert found.verdict.allowed is really_may(user, *IN_ACME[permission]), found
                    compared += 1
    assert compared == len(list(everyone())) * (len(ANYWHERE) + len(IN_ACME))


@lru_cache
def command_of(change: str) -> tuple[str, ...]:
    """The words of the command that a change names, which must parse as it is pasted."""
    pasted = re.fullmatch(r"(?:or )?`(bazar [^`]+)` \([^`]+\)", change)
    assert pasted, change
    words = shlex.split(pasted[1])
    [(path, leaf)] = [found for found in ALL.values() if tuple(words[1 : len(found[0]) + 1]) == found[0]]
    command(path, leaf).make_context("bazar", words[len(path) + 1 :])
    return tuple(words)


def after(user: User, change: str) -> User:
    """The user after a change that an explanation names."""
    words = command_of(change)
    if words[1:3] == ("plans", "assign"):
        return replace(user, plan=Plan(words[4]))
    if words[1:3] == ("users", "restore"):
        return replace(user, state=UserState.ACTIVE, pending=None)
    if words[1:3] == ("users", "promote"):
        return replace(user, is_superuser=True)
    assert words[1:3] == ("orgs", "members"), change
    assert words[4:7] == (ACME.slug, user.email, "--role")
    others = tuple(m for m in user.organizations if m.organization_id != ACME.id)
    return replace(user, organizations=(*others, Membership(ACME.id, ACME.slug, Role(words[7]))))


def named_by(change: str) -> list[Operator]:
    """One of each kind of people that a change names, with no more than it names."""
    who = change.partition("` (")[2].rstrip(")").split("; ")[0]
    people, _, plan = who.partition(", on a plan with ")
    assert plan in {"", "users:update", "members:manage"}, who
    named: list[Operator] = []
    for one in people.replace(", or ", "|").replace(" or a superuser", "|a superuser").split("|"):
        if one.startswith("a superuser"):
            named.append(an_operator(superuser=True))
        elif one == "a user with a higher role in all of their organizations":
            named.append(an_operator({ACME: Role.OWNER, BETA: Role.OWNER}))
        else:
            roles, _, where = one.partition(" of acme")
            assert roles in {"an owner", "an admin or owner"}, who
            shared = {BETA: Role.MEMBER} if where == " who shares an organization with them" else {}
            kinds = [Role.OWNER] if roles == "an owner" else [Role.ADMIN, Role.OWNER]
            named += [an_operator({ACME: role, **shared}) for role in kinds]
    assert named[-1].is_superuser or named[0].is_superuser, who
    return named


def do(operator: Operator, user: User, change: str) -> None:
    """Ask the rules whether who was named may do what they were named for."""
    words = command_of(change)
    within = operator.is_superuser or any(operator.role_in(m.organization_id) for m in user.organizations)
    if words[1] == "plans":
        granted(operator, plans.ASSIGN if words[2] == "assign" else plans.GRANT)
        return
    assert within, change
    if words[1:3] == ("users", "promote"):
        granted(operator, user_changes.PROMOTE)
    elif words[1:3] == ("users", "restore"):
        row_rules.may_write_user(granted(operator, user_changes.RESTORE), user)
    elif words[3] == "add":
        row_rules.may_give_role(granted(operator, members.ADD), ACME.id, ACME.slug, Role(words[7]))
    else:
        [held] = [m.role for m in user.organizations if m.organization_id == ACME.id]
        grant = granted(operator, members.UPDATE)
        row_rules.may_change_member(grant, user.id, organization(ACME), held, Role(words[7]))


def test_what_an_explanation_says_would_change_it_changes_it() -> None:
    for user in everyone():
        for permission in Permission:
            for org in (None, organization(ACME)):
                changes = explain.explanation(user, org, permission, SEEDED_PLANS).changes
                changed = user
                for change in changes:
                    for operator in named_by(change):
                        do(operator, changed, change)
                    if not change.startswith("or "):  # another way to the same
                        changed = after(changed, change)
                assert explain.verdict(changed, org, permission, SEEDED_PLANS).allowed, changes


MEMBER, PREMIUM, RULER = (
    a_user({ACME: Role.MEMBER}),
    a_user(plan=Plan.PREMIUM),
    a_user(plan=Plan.PREMIUM, superuser=True),
)


@pytest.mark.parametrize(
    ("user", "org", "permission", "told"),
    [
        (
            MEMBER,
            ACME,
            Permission.FILES_READ,
            [
                "yes user ada@example.com: not a superuser",
                "yes state active: active",
                "yes plan free: the plan Free has files:read",
                "yes superuser no: files:read is not for superusers only",
                "yes organization acme: a member of acme",
                "yes role member: member of acme may use it",
            ],
        ),
        (
            RULER,
            ACME,
            Permission.ORGS_DELETE,
            [
                "yes user ada@example.com: a superuser",
                "yes state active: active",
                "yes plan premium: the plan Premium has orgs:delete",
                "yes superuser yes: a superuser may use it everywhere",
                "yes organization acme: superusers need no membership",
                "yes role None: it does not depend on a role",
            ],
        ),
        (
            PREMIUM,
            ACME,
            Permission.DB_READ,
            [
                "yes user ada@example.com: not a superuser",
                "yes state active: active",
                "yes plan premium: the plan Premium has db:read",
                "no superuser no: only superusers may use it: db:read",
                "yes organization acme: it does not depend on an organization",
                "yes role None: it does not depend on a role",
            ],
        ),
        (
            RULER,
            None,
            Permission.DB_READ,
            [
                "yes user ada@example.com: a superuser",
                "yes state active: active",
                "yes plan premium: the plan Premium has db:read",
                "yes superuser yes: a superuser may use it everywhere",
                "yes organization None: superusers need no membership",
                "yes role None: it does not depend on a role",
            ],
        ),
        (
            MEMBER,
            BETA,
            Permission.ORGS_READ,
            [
                "yes user ada@example.com: not a superuser",
                "yes state active: active",
                "yes plan free: the plan Free has orgs:read",
                "yes superuser no: orgs:read is not for superusers only",
                "no organization beta: ada@example.com is not a member of beta",
                "no role None: it needs the role member or higher",
            ],
        ),
    ],
)
def test_every_step_says_what_it_looked_at(
    user: User, org: Org | None, permission: Permission, told: list[str]
) -> None:
    found = explain.explanation(user, organization(org) if org else None, permission, SEEDED_PLANS)

    assert [f"{'yes' if s.ok else 'no'} {s.name} {s.value}: {s.why}" for s in found.steps] == told


def test_a_promotion_is_named_with_its_confirmation() -> None:
    found = explain.explanation(PREMIUM, None, Permission.DB_READ, SEEDED_PLANS)

    promote = "`bazar users promote ada@example.com --confirm ada@example.com` (a superuser on Premium)"
    assert found.changes == (promote,)


def test_a_permission_that_no_plan_has_is_granted_to_one() -> None:
    found = explain.explanation(a_user(), None, Permission.FILES_READ, {Plan.FREE: frozenset()})

    assert found.changes == ("`bazar plans grant free files:read` (a superuser on Premium; for everybody on Free)",)


@pytest.mark.parametrize("permission", [Permission.USERS_UPDATE, Permission.MEMBERS_MANAGE, Permission.ORGS_DELETE])
def test_without_an_organization_the_target_decides(permission: Permission) -> None:
    found = explain.explanation(a_user({ACME: Role.MEMBER}, plan=Plan.PREMIUM), None, permission, SEEDED_PLANS)

    assert found.verdict.allowed
    assert found.steps[-1].why.startswith("the target decides: ")
    assert "acme" not in str(found)


# -- members --------------------------------------------------------------------------------------------------

RANKS = [None, Role.MEMBER, Role.ADMIN, Role.OWNER]
"""No membership, and the roles from the lowest."""


def manages(own: Role | None, role: Role) -> bool:
    """The rule in words: owners all, admins the members."""
    return own is Role.OWNER or (own is Role.ADMIN and role is Role.MEMBER)


def allows(rule: Callable[[], None]) -> bool:
    try:
        rule()
    except Denied as denied:
        return denied.code != "access.role"
    return True


@pytest.mark.parametrize("own", RANKS)
@pytest.mark.parametrize("current", Role)
def test_a_member_is_removed_by_a_higher_role_and_by_owners(own: Role | None, current: Role) -> None:
    grant = grant_of(an_operator({ACME: own} if own else {BETA: Role.OWNER}))
    assert allows(lambda: row_rules.may_remove_member(grant, uuid.uuid4(), organization(ACME), current)) == manages(
        own, current
    )


@pytest.mark.parametrize("own", RANKS)
@pytest.mark.parametrize("current", Role)
@pytest.mark.parametrize("wanted", Role)
def test_a_role_is_changed_where_both_roles_may_be_given(own: Role | None, current: Role, wanted: Role) -> None:
    grant = grant_of(an_operator({ACME: own} if own else {BETA: Role.OWNER}))
    allowed = allows(lambda: row_rules.may_change_member(grant, uuid.uuid4(), organization(ACME), current, wanted))
    assert allowed == (manages(own, current) and manages(own, wanted))


@pytest.mark.parametrize("current", Role)
@pytest.mark.parametrize("wanted", Role)
def test_everybody_may_leave_and_take_a_lower_role(current: Role, wanted: Role) -> None:
    operator = an_operator({ACME: current})
    grant, acme = grant_of(operator), organization(ACME)
    row_rules.may_remove_member(grant, operator.id, acme, current)
    allowed = allows(lambda: row_rules.may_change_member(grant, operator.id, acme, current, wanted))
    assert allowed == (wanted.rank <= current.rank)


@pytest.mark.parametrize("role", Role)
def test_superusers_change_and_remove_every_member(role: Role) -> None:
    grant = grant_of(an_operator(superuser=True))
    row_rules.may_remove_member(grant, uuid.uuid4(), organization(ACME), role)
    row_rules.may_change_member(grant, uuid.uuid4(), organization(ACME), role, Role.OWNER)


def test_a_role_is_that_of_the_organization_asked_for() -> None:
    operator = an_operator({BETA: Role.OWNER, ACME: Role.MEMBER})
    assert [operator.role_in(org.id) for org in (ACME, BETA, an_org())] == [Role.MEMBER, Role.OWNER, None]
    assert grant_of(operator).role_in(ACME.id) is Role.MEMBER


def test_a_grant_is_made_by_the_policy_only() -> None:
    grant = grant_of(an_operator())
    with pytest.raises(Sealed):
        replace(grant, seal=None)


@pytest.mark.parametrize(
    ("permission", "verb"), [(Permission.ORGS_UPDATE, "change acme"), (Permission.ORGS_DELETE, "delete acme")]
)
def test_a_denial_says_what_was_to_be_done_to_the_organization(permission: Permission, verb: str) -> None:
    with pytest.raises(Denied, match=verb):
        row_rules.may_write_organization(grant_of(an_operator({ACME: Role.MEMBER})), organization(ACME), permission)


def _rules() -> Iterator[tuple[str, Callable[[Grant], None]]]:
    """Each row rule with each target in acme that it distinguishes."""
    acme, other = organization(ACME), uuid.uuid4()
    targets = [a_user({ACME: role}, superuser=superuser) for role in Role for superuser in (False, True)]
    for target in (*targets, a_user(), a_user({ACME: Role.MEMBER, BETA: Role.MEMBER}), a_user({BETA: Role.MEMBER})):
        yield "may_write_user", partial(row_rules.may_write_user, target=target)
        yield "may_read_sessions", partial(row_rules.may_read_sessions, target=target)
    for permission in (Permission.ORGS_UPDATE, Permission.ORGS_DELETE):
        yield (
            "may_write_organization",
            partial(row_rules.may_write_organization, organization=acme, permission=permission),
        )
    for role in Role:
        yield "may_give_role", partial(row_rules.may_give_role, organization_id=ACME.id, slug=ACME.slug, role=role)
        yield "may_create_user", partial(row_rules.may_create_user, organization=acme, role=role)
        yield "may_remove_member", partial(row_rules.may_remove_member, user_id=other, organization=acme, current=role)
        for wanted in Role:
            changed = partial(
                row_rules.may_change_member, user_id=other, organization=acme, current=role, wanted=wanted
            )
            yield "may_change_member", changed
    yield "may_create_user", partial(row_rules.may_create_user, organization=None, role=Role.MEMBER)
    yield "may_choose_id", row_rules.may_choose_id


def test_a_higher_role_may_all_that_a_lower_one_may() -> None:
    """The matrix tries a row only for the operators at whom its outcome changes."""
    operators = [an_operator({ACME: role} if role else {}) for role in RANKS] + [an_operator(superuser=True)]
    for name, rule in _rules():
        codes = [code_by(partial(rule, grant_of(operator))) for operator in operators]
        allowed = [code == "" for code in codes]
        assert allowed == sorted(allowed), f"{name}: {codes}"
        assert len(set(codes)) == 1 + (not all(allowed)), f"{name} has two reasons: {codes}"


def code_by(rule: Callable[[], None]) -> str:
    """The code by which a rule denies; empty if it allows."""
    try:
        rule()
    except Denied as denied:
        return denied.code
    return ""
