"""Plans: what the stored table allows, and whether one user may do one thing."""

from __future__ import annotations

import pytest

from bazar_cli.domain import plans as use_cases
from bazar_cli.domain.authz.explain import Verdict
from bazar_cli.domain.authz.permissions import SEEDED_PLANS, Permission
from bazar_cli.domain.entities import Plan, Role, UserState
from bazar_cli.domain.errors import NotFound
from bazar_cli.domain.plans import CheckPermission, MatrixRow, ShowPlan
from bazar_cli.services.plans import read
from tests.support.people import People, Someone


def check(people: People, operator: Someone, request: CheckPermission) -> Verdict:
    return people.run(operator, read.check, use_cases.CHECK, request)


# -- the table ----------------------------------------------------------------------------------------------


def test_plans_are_listed_from_the_least_to_the_most(people: People) -> None:
    listed = people.run(people.user(), read.list_plans, use_cases.LIST, None)

    assert [(plan.name, plan.title) for plan in listed] == [
        (Plan.FREE, "Free"),
        (Plan.PLUS, "Plus"),
        (Plan.PREMIUM, "Premium"),
    ]
    assert {plan.name: frozenset(plan.permissions) for plan in listed} == SEEDED_PLANS


@pytest.mark.parametrize("plan", Plan)
def test_a_plan_shows_its_permissions_in_the_order_of_the_vocabulary(people: People, plan: Plan) -> None:
    shown = people.run(people.user(), read.show, use_cases.SHOW, ShowPlan(plan))

    assert shown.name is plan
    assert shown.permissions == tuple(p for p in Permission if p in SEEDED_PLANS[plan])


def test_the_matrix_has_one_row_for_every_permission(people: People) -> None:
    rows = people.run(people.user(), read.matrix, use_cases.MATRIX, None)

    assert [row.permission for row in rows] == list(Permission)
    assert MatrixRow(Permission.USERS_READ, free=True, plus=True, premium=True) in rows
    assert MatrixRow(Permission.FILES_EXECUTE, free=False, plus=True, premium=True) in rows
    assert MatrixRow(Permission.DB_RESET, free=False, plus=False, premium=True) in rows


def test_the_stored_table_counts(alone: People) -> None:
    me = alone.user()
    alone.sql("INSERT INTO bazar.plan_permissions (plan, permission) VALUES ('free', 'files:create')")
    alone.sql("DELETE FROM bazar.plan_permissions WHERE plan = 'free' AND permission = 'files:read'")

    shown = alone.run(me, read.show, use_cases.SHOW, ShowPlan(Plan.FREE))
    rows = {row.permission: row.free for row in alone.run(me, read.matrix, use_cases.MATRIX, None)}

    assert Permission.FILES_CREATE in shown.permissions
    assert Permission.FILES_READ not in shown.permissions
    assert (rows[Permission.FILES_CREATE], rows[Permission.FILES_READ]) == (True, False)
    assert check(alone, me, CheckPermission(Permission.FILES_CREATE)).allowed
    assert not check(alone, me, CheckPermission(Permission.FILES_READ)).allowed


def test_unknown_permissions_of_a_newer_release_are_skipped(alone: People) -> None:
    me = alone.user()
    alone.sql("INSERT INTO bazar.plans (name, title, position) VALUES ('gold', 'Gold', 4)")
    alone.sql("INSERT INTO bazar.plan_permissions VALUES ('free', 'rockets:launch'), ('gold', 'users:read')")

    listed = alone.run(me, read.list_plans, use_cases.LIST, None)

    assert [plan.name for plan in listed] == list(Plan)
    assert frozenset(listed[0].permissions) == SEEDED_PLANS[Plan.FREE]


def test_a_plan_without_permissions_shows_none(alone: People) -> None:
    me = alone.user()
    alone.sql("DELETE FROM bazar.plan_permissions WHERE plan = 'plus'")

    assert alone.run(me, read.show, use_cases.SHOW, ShowPlan(Plan.PLUS)).permissions == ()


def test_a_plan_that_the_table_lost_is_not_found(alone: People) -> None:
    me = alone.user()
    alone.sql("DELETE FROM bazar.plan_permissions WHERE plan = 'plus'")
    alone.sql("DELETE FROM bazar.plans WHERE name = 'plus'")

    with pytest.raises(NotFound) as missing:
        alone.run(me, read.show, use_cases.SHOW, ShowPlan(Plan.PLUS))

    assert missing.value.code == "plans.not_found"


# -- check --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("plan", "allowed"), [(Plan.FREE, False), (Plan.PLUS, True), (Plan.PREMIUM, True)])
def test_other_systems_ask_whether_a_user_may_execute_files(people: People, plan: Plan, allowed: bool) -> None:
    user = people.user(plan=plan)

    verdict = check(people, people.superuser(), CheckPermission(Permission.FILES_EXECUTE, user=user.email))

    assert verdict.allowed is allowed
    assert (verdict.user_id, verdict.email, verdict.plan) == (user.id, user.email, plan)
    assert (verdict.permission, verdict.organization) == (Permission.FILES_EXECUTE, None)


def test_without_a_user_the_operator_is_meant(people: People) -> None:
    me = people.user(plan=Plan.PLUS)

    assert check(people, me, CheckPermission(Permission.FILES_EXECUTE)).user_id == me.id


def test_a_suspended_user_may_nothing(people: People) -> None:
    user = people.user(plan=Plan.PREMIUM, state=UserState.SUSPENDED)

    verdict = check(people, people.superuser(), CheckPermission(Permission.USERS_READ, user=user.email))

    assert (verdict.allowed, verdict.reason) == (False, f"{user.email} is suspended")


@pytest.mark.parametrize("role", Role)
def test_in_an_organization_the_role_counts(people: People, role: Role) -> None:
    org = people.org()
    user = people.user({org: role}, plan=Plan.PREMIUM)
    request = CheckPermission(Permission.USERS_CREATE, user=str(user.id), organization=org.slug)

    verdict = check(people, people.superuser(), request)

    assert verdict.allowed is (role is not Role.MEMBER)
    assert verdict.organization == org.slug


def test_outside_of_their_organizations_a_user_may_nothing(people: People) -> None:
    org, user = people.org(), people.user(plan=Plan.PREMIUM)
    request = CheckPermission(Permission.USERS_READ, user=user.email, organization=str(org.id))

    verdict = check(people, people.superuser(), request)

    assert (verdict.allowed, verdict.reason) == (False, f"{user.email} is not a member of {org.slug}")


def test_a_check_of_someone_out_of_reach_is_not_found(people: People) -> None:
    me, stranger = people.user({people.org(): Role.OWNER}), people.user({people.org(): Role.MEMBER})

    with pytest.raises(NotFound) as missing:
        check(people, me, CheckPermission(Permission.USERS_READ, user=stranger.email))

    assert missing.value.code == "users.not_found"


def test_a_check_in_an_organization_out_of_reach_is_not_found(people: People) -> None:
    with pytest.raises(NotFound) as missing:
        check(people, people.user(), CheckPermission(Permission.USERS_READ, organization=people.org().slug))

    assert missing.value.code == "orgs.not_found"


def test_a_check_does_not_leak_memberships_out_of_reach(people: People) -> None:
    shared, hidden = people.org(), people.org()
    me, other = people.user({shared: Role.MEMBER}), people.user({shared: Role.MEMBER, hidden: Role.OWNER})

    with pytest.raises(NotFound):
        check(people, me, CheckPermission(Permission.USERS_READ, user=other.email, organization=hidden.slug))
