"""The decision: plan and scope are two checks, and every no says what would make it a yes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from types import SimpleNamespace

import pytest

from bazar_cli.domain import doctor, plans
from bazar_cli.domain.authz.permissions import SEEDED_PLANS, Permission
from bazar_cli.domain.authz.policy import command_of, decide_bootstrap
from bazar_cli.domain.authz.spec import (
    Access,
    Denial,
    FieldRule,
    Grant,
    Operator,
    Scope,
    Sealed,
    Spec,
    public,
    requires,
    signed_in,
)
from bazar_cli.domain.db import migrations
from bazar_cli.domain.entities import Pending, Plan, Role, UserState
from bazar_cli.domain.orgs import organizations
from bazar_cli.domain.orgs.organizations import CreateOrganization
from bazar_cli.domain.users import changes as user_changes
from bazar_cli.domain.users import users
from bazar_cli.domain.users.changes import CreateUser, UpdateUser
from tests.support.people import REQUEST_ID, an_identity, an_operator, an_org, decided, granted
from tests.support.tree import ALL, verb

EVERY_PLAN = {Plan.FREE, Plan.PLUS, Plan.PREMIUM}
A_USER = CreateUser("ada@example.com", organization="acme")
A_CHANGE = UpdateUser("ada@example.com", email="ada.king@example.com")


def denied(decision: Grant | Denial) -> Denial:
    assert isinstance(decision, Denial), decision
    return decision


@pytest.mark.parametrize(
    ("spec", "request_", "allowed"),
    [
        (users.ME, None, EVERY_PLAN),
        (users.LIST, None, EVERY_PLAN),
        (users.GET, None, EVERY_PLAN),
        (user_changes.CREATE, A_USER, {Plan.PREMIUM}),
        (user_changes.UPDATE, A_CHANGE, {Plan.PREMIUM}),
        (user_changes.SUSPEND, None, {Plan.PREMIUM}),
        (user_changes.RESTORE, None, {Plan.PREMIUM}),
        (user_changes.DELETE, None, {Plan.PREMIUM}),
        (organizations.LIST, None, EVERY_PLAN),
        (organizations.GET, None, EVERY_PLAN),
        (organizations.CREATE, CreateOrganization("Acme"), {Plan.PREMIUM}),
        (plans.LIST, None, EVERY_PLAN),
        (plans.SHOW, None, EVERY_PLAN),
        (plans.MATRIX, None, EVERY_PLAN),
        (plans.CHECK, None, EVERY_PLAN),
        (migrations.STATUS, None, {Plan.PREMIUM}),
        (migrations.MIGRATE, None, {Plan.PREMIUM}),
    ],
    ids=lambda value: value.name if isinstance(value, Spec) else "",
)
@pytest.mark.parametrize("plan", Plan)
def test_the_plan_says_what_even_to_a_superuser(spec: Spec, request_: object, allowed: set[Plan], plan: Plan) -> None:
    decision = decided(an_operator(plan=plan, superuser=True), spec, request_)

    assert isinstance(decision, Grant) == (plan in allowed)


def test_a_denial_by_plan_names_the_permission_the_plan_that_has_it_and_who_can_change_it() -> None:
    denial = denied(decided(an_operator(plan=Plan.FREE), user_changes.CREATE, A_USER))

    assert denial.code == "access.plan"
    assert denial.message == (
        "bazar users create needs users:create, which your plan Free does not have; Premium has it"
    )
    assert denial.hint == (
        "a superuser on Premium can move operator@example.com to Premium:"
        " `bazar plans assign operator@example.com premium`"
    )
    assert denial.details == {
        "permissions": ["users:create"],
        "plan": "free",
        "plans_with_it": ["premium"],
        "who_can_change_it": "a superuser on Premium",
    }


def test_a_denial_names_all_plans_that_have_the_permission() -> None:
    execute = requires("files.execute", Permission.FILES_EXECUTE, scope=Scope.NONE)

    denial = denied(decided(an_operator(plan=Plan.FREE), execute))

    assert "Plus or Premium has it" in denial.message


def test_a_plan_with_no_other_permission_is_named_too() -> None:
    table = {Plan.PLUS: frozenset({Permission.USERS_CREATE})}

    denial = denied(decided(an_operator(plan=Plan.FREE, plans=table), user_changes.CREATE, A_USER))

    assert denial.details["plans_with_it"] == ["plus"]


def test_a_permission_that_no_plan_has_can_be_added_to_one() -> None:
    table = {plan: permissions - {Permission.USERS_CREATE} for plan, permissions in SEEDED_PLANS.items()}

    denial = denied(decided(an_operator(plans=table), user_changes.CREATE, A_USER))

    assert "no plan has it" in denial.message
    assert denial.hint == "a superuser on Premium can add it to a plan: `bazar plans grant premium users:create`"
    assert denial.details["plans_with_it"] == []


def test_the_stored_plan_table_decides_not_the_seeded_one() -> None:
    table = {**SEEDED_PLANS, Plan.FREE: SEEDED_PLANS[Plan.FREE] | {Permission.USERS_CREATE}}

    assert granted(an_operator(plan=Plan.FREE, plans=table), user_changes.CREATE, A_USER)


def test_a_plan_that_the_table_lost_allows_nothing() -> None:
    denial = denied(decided(an_operator(plan=Plan.PREMIUM, plans={}), users.GET))

    assert denial.code == "access.plan"


def test_oneself_needs_no_permission_at_all() -> None:
    assert granted(an_operator(plan=Plan.FREE, plans={}), users.ME)


@pytest.mark.parametrize(
    ("state", "pending", "word"),
    [
        (UserState.SUSPENDED, None, "suspended"),
        (UserState.SUSPENDED, Pending.SUSPEND, "suspended"),
        (UserState.ACTIVE, Pending.DELETE, "being deleted"),
        (UserState.SUSPENDED, Pending.DELETE, "being deleted"),
    ],
)
@pytest.mark.parametrize("spec", [users.ME, users.GET, migrations.STATUS], ids=lambda spec: spec.name)
def test_who_is_out_of_service_may_nothing(spec: Spec, state: UserState, pending: Pending | None, word: str) -> None:
    denial = denied(decided(an_operator(superuser=True, state=state, pending=pending), spec))

    assert denial.code == "access.suspended"
    assert denial.message == f"operator@example.com is {word}; {command_of(spec)} is denied"
    assert denial.details == {"state": state.value, "command": command_of(spec)}


_SPECS = [verb(leaf).spec for _, leaf in ALL.values() if verb(leaf).spec.access is not Access.PUBLIC]
_OPERATORS = [
    an_operator(roles, plan=plan, superuser=superuser, state=state, pending=pending)
    for roles in ({}, *({an_org(): role} for role in Role), {an_org(): Role.OWNER, an_org(): Role.MEMBER})
    for plan, superuser, state in product(Plan, (True, False), UserState)
    for pending in (None, *Pending)
]
"""An operator of each plan, state and set of roles."""


@pytest.mark.parametrize("spec", _SPECS, ids=lambda spec: spec.name)
def test_state_then_plan_then_scope_decide_every_command(spec: Spec) -> None:
    """Neither a role nor anything else decides: the matrix tries one operator of each kind for a command."""
    free = {name: rule.free[0] for name, rule in spec.fields.items()}
    request = SimpleNamespace(**{**free, **({spec.oneself: "other@example.com"} if spec.oneself else {})})
    found = [(operator, decided(operator, spec, request)) for operator in _OPERATORS]
    for operator, decision in found:
        if operator.state is not UserState.ACTIVE or operator.pending is Pending.DELETE:
            expected = "access.suspended"
        elif spec.permissions - SEEDED_PLANS[operator.plan]:
            expected = "access.plan"
        elif spec.scope is Scope.PLATFORM and not operator.is_superuser:
            expected = "access.platform"
        else:
            expected = ""
        assert (decision.code if isinstance(decision, Denial) else "") == expected, operator


@pytest.mark.parametrize(
    ("spec", "field"),
    [(spec, field) for spec in _SPECS for field in spec.fields],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_field_that_requires_more_is_refused_without_it(spec: Spec, field: str) -> None:
    rule = spec.fields[field]
    free = {name: other.free[0] for name, other in spec.fields.items()}
    request = SimpleNamespace(**{**free, field: "another value", **({spec.oneself: "x"} if spec.oneself else {})})
    for operator in _OPERATORS:
        decision = decided(operator, spec, request)
        added = frozenset[Permission]() if rule.permission is None else frozenset({rule.permission})
        needed = spec.permissions | added
        platform = spec.scope is Scope.PLATFORM or rule.platform
        may = needed <= operator.permissions and (operator.is_superuser or not platform)
        assert isinstance(decision, Grant) == (may and operator.is_active), operator


@pytest.mark.parametrize("pending", [Pending.EMAIL, Pending.RESTORE])
def test_another_pending_change_does_not_stop_an_operator(pending: Pending) -> None:
    assert granted(an_operator(pending=pending), users.GET)


@pytest.mark.parametrize("spec", [migrations.STATUS, migrations.MIGRATE], ids=lambda spec: spec.name)
def test_platform_commands_are_for_superusers(spec: Spec) -> None:
    denial = denied(decided(an_operator({an_org(): Role.OWNER}), spec))

    assert denial.code == "access.platform"
    assert denial.message == f"{command_of(spec)} is for superusers, and operator@example.com is not a superuser"
    assert denial.hint == "ask a superuser to run it"
    assert denial.details == {"scope": "platform", "command": command_of(spec)}


def test_the_plan_is_checked_before_the_platform() -> None:
    assert denied(decided(an_operator(plan=Plan.PLUS), migrations.STATUS)).code == "access.plan"


@pytest.mark.parametrize("plan", [None, Plan.FREE])
def test_a_user_on_free_costs_no_more_than_creating_one(plan: Plan | None) -> None:
    assert granted(an_operator(), user_changes.CREATE, CreateUser("ada@example.com", plan=plan))


@pytest.mark.parametrize("plan", [Plan.PLUS, Plan.PREMIUM])
def test_a_user_on_a_paid_plan_is_for_superusers(plan: Plan) -> None:
    request = CreateUser("ada@example.com", plan=plan)

    denial = denied(decided(an_operator(), user_changes.CREATE, request))
    assert denial.code == "access.platform"
    assert denial.message.startswith("bazar users create with these options is for superusers")
    assert granted(an_operator(superuser=True), user_changes.CREATE, request)


def test_a_user_on_a_paid_plan_needs_plans_assign() -> None:
    table = {Plan.PREMIUM: SEEDED_PLANS[Plan.PREMIUM] - {Permission.PLANS_ASSIGN}}
    operator = an_operator(superuser=True, plans=table)

    denial = denied(decided(operator, user_changes.CREATE, CreateUser("ada@example.com", plan=Plan.PLUS)))

    assert denial.details["permissions"] == ["plans:assign"]


@pytest.mark.parametrize("role", [Role.ADMIN, Role.OWNER])
def test_a_role_above_member_needs_members_manage(role: Role) -> None:
    table = {Plan.PREMIUM: SEEDED_PLANS[Plan.PREMIUM] - {Permission.MEMBERS_MANAGE}}
    request = CreateUser("ada@example.com", organization="acme", role=role)

    assert denied(decided(an_operator(plans=table), user_changes.CREATE, request)).details["permissions"] == [
        "members:manage"
    ]
    assert granted(an_operator(), user_changes.CREATE, request)


@pytest.mark.parametrize("role", [None, Role.MEMBER])
def test_a_member_needs_no_members_manage(role: Role | None) -> None:
    table = {Plan.PREMIUM: frozenset({Permission.USERS_CREATE})}

    assert granted(
        an_operator(plans=table), user_changes.CREATE, CreateUser("ada@example.com", organization="acme", role=role)
    )


def test_naming_another_owner_of_a_new_organization_is_for_superusers() -> None:
    request = CreateOrganization("Acme", owner="bob@example.com")

    assert denied(decided(an_operator(), organizations.CREATE, request)).code == "access.platform"
    assert granted(an_operator(superuser=True), organizations.CREATE, request)


def test_everything_missing_is_named_at_once() -> None:
    request = CreateUser("ada@example.com", organization="acme", role=Role.ADMIN, plan=Plan.PLUS)

    denial = denied(decided(an_operator(plan=Plan.FREE), user_changes.CREATE, request))

    assert denial.details["permissions"] == ["members:manage", "plans:assign", "users:create"]


def test_a_grant_reaches_oneself_and_the_operators_organizations() -> None:
    acme, beta = an_org("acme"), an_org("beta")
    operator = an_operator({acme: Role.MEMBER, beta: Role.OWNER})

    grant = granted(operator, users.LIST)

    assert grant.reach.everything is False
    assert grant.reach.user_id == operator.id
    assert grant.reach.organization_ids == {acme.id, beta.id}


def test_a_superusers_grant_reaches_everything() -> None:
    assert granted(an_operator(superuser=True), users.LIST).reach.everything is True


def test_an_address_is_changed_by_superusers() -> None:
    assert denied(decided(an_operator({an_org(): Role.OWNER}), user_changes.UPDATE, A_CHANGE)).code == "access.platform"


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_grant_carries_the_dry_run_and_the_request_id(dry_run: bool) -> None:
    grant = granted(an_operator(), user_changes.DELETE, dry_run=dry_run)

    assert (grant.dry_run, grant.request_id, grant.bootstrap) == (dry_run, REQUEST_ID, False)


def test_a_grant_carries_the_permissions_that_it_needed() -> None:
    request = CreateUser("ada@example.com", organization="acme", role=Role.ADMIN)

    assert granted(an_operator(), user_changes.CREATE, request).permissions == {
        Permission.USERS_CREATE,
        Permission.MEMBERS_MANAGE,
    }


def test_a_grant_serves_its_own_use_case_only() -> None:
    grant = granted(an_operator(), users.GET)

    grant.demand(users.GET)
    with pytest.raises(Sealed, match=r"users\.get was used for users\.list"):
        grant.demand(users.LIST)


def test_nobody_but_the_policy_makes_a_grant() -> None:
    grant = granted(an_operator(), users.GET)

    with pytest.raises(Sealed, match="outside the gate"):
        Grant(grant.operator, grant.spec, grant.reach, grant.request_id)


def test_a_public_command_asks_for_no_grant() -> None:
    with pytest.raises(ValueError, match="needs no Grant"):
        decided(an_operator(), migrations.WAIT)


def test_a_public_command_states_its_reason() -> None:
    with pytest.raises(ValueError, match="states its reason"):
        public("users.peek", "")


def test_a_spec_holds_what_was_declared() -> None:
    oneself = signed_in("users.me", writes=True)
    assert oneself == Spec("users.me", Access.SIGNED_IN, Scope.ONESELF, writes=True)
    assert public("db.wait", "why", writes=True) == Spec("db.wait", Access.PUBLIC, reason="why", writes=True)
    fields = {"role": FieldRule(platform=True)}
    declared = requires(
        "users.list",
        Permission.USERS_READ,
        scope=Scope.REACH,
        writes=True,
        fields=fields,
        bootstrap=True,
        without_database=True,
        command="bazar users",
        oneself="user",
    )
    assert declared == Spec(
        "users.list",
        Access.PERMISSION,
        Scope.REACH,
        frozenset({Permission.USERS_READ}),
        writes=True,
        fields=fields,
        bootstrap=True,
        without_database=True,
        command="bazar users",
        oneself="user",
    )
    with pytest.raises(ValueError, match="access by permission needs permissions"):
        requires("users.list", scope=Scope.REACH)


def test_bootstrap_grants_a_bootstrap_command_its_own_permissions_only() -> None:
    someone = an_operator()
    identity = an_identity(someone, "a session", timedelta(minutes=5))

    grant = decide_bootstrap(
        someone.id, someone.email, migrations.MIGRATE, REQUEST_ID, dry_run=False, identity=identity
    )

    assert grant is not None
    assert grant.bootstrap
    assert (grant.operator.is_superuser, grant.operator.plan) == (True, Plan.PREMIUM)
    assert grant.operator.permissions == {Permission.DB_MIGRATE}
    assert (grant.session_id, grant.token_lifetime) == ("a session", timedelta(minutes=5))


def test_a_grant_without_an_identity_has_no_session() -> None:
    grant = decide_bootstrap(
        an_operator().id, "first@example.com", migrations.MIGRATE, REQUEST_ID, dry_run=True, identity=None
    )
    assert grant is not None
    assert (grant.session_id, grant.token_lifetime) == (None, None)


def test_a_grant_names_the_users_of_its_request_in_lower_case() -> None:
    assert granted(an_operator(), user_changes.CREATE, A_USER).named_users == {"ada@example.com"}
    assert granted(an_operator(), user_changes.UPDATE, UpdateUser("Ada@Example.com", name="Ada")).named_users == {
        "ada@example.com"
    }
    assert granted(an_operator(), users.LIST).named_users == frozenset()


def test_a_grant_holds_the_identity_and_never_shows_its_token() -> None:
    operator = an_operator()

    grant = granted(operator, users.GET)

    assert grant.identity is not None
    assert (grant.identity.user_id, grant.session_id) == (operator.id, None)
    assert grant.identity.access_token.reveal() == "a token"
    assert "token" not in repr(grant)


@pytest.mark.parametrize(
    "spec", [user_changes.CREATE, users.LIST, organizations.CREATE, plans.LIST], ids=lambda spec: spec.name
)
def test_bootstrap_opens_no_other_command(spec: Spec) -> None:
    someone = an_operator()

    assert (
        decide_bootstrap(someone.id, someone.email, spec, REQUEST_ID, dry_run=False, identity=an_identity(someone))
        is None
    )


@pytest.mark.parametrize(
    ("name", "command"),
    [("users.create", "bazar users create"), ("users.reset_password", "bazar users reset-password")],
)
def test_a_denial_names_the_command_as_it_is_typed(name: str, command: str) -> None:
    assert command_of(public(name, "a test")) == command


def test_a_denial_names_the_command_that_its_spec_gives() -> None:
    assert command_of(doctor.FIX) == "bazar doctor --fix"


@dataclass(frozen=True)
class AboutSomeone:
    user: str


ABOUT_SOMEONE = requires("users.sessions.list", Permission.USERS_UPDATE, scope=Scope.ROW, oneself="user")


@pytest.mark.parametrize("named", ["email", "EMAIL", "id", "ID"])
def test_where_oneself_is_free_the_operators_own_name_needs_no_permission(named: str) -> None:
    operator = an_operator(plan=Plan.FREE)
    own = {"email": operator.email, "id": str(operator.id)}[named.lower()]
    given = own.upper() if named.isupper() else own

    assert isinstance(decided(operator, ABOUT_SOMEONE, AboutSomeone(given)), Grant)


@pytest.mark.parametrize("named", ["", "other@example.com", " operator@example.com"])
def test_where_oneself_is_free_anybody_else_needs_the_permission(named: str) -> None:
    denial = denied(decided(an_operator(plan=Plan.FREE), ABOUT_SOMEONE, AboutSomeone(named)))

    assert denial.code == "access.plan"


@pytest.mark.parametrize(
    ("operator", "whom"),
    [
        (an_operator(superuser=True, state=UserState.SUSPENDED), "another superuser"),
        (an_operator({an_org(): Role.MEMBER}, state=UserState.SUSPENDED), "an administrator of your organization"),
        (an_operator(state=UserState.SUSPENDED), "a superuser"),
    ],
    ids=["superuser", "member", "of no organization"],
)
def test_suspended_operators_are_told_whom_to_ask(operator: Operator, whom: str) -> None:
    assert denied(decided(operator, users.GET)).hint == f"ask {whom} to restore you"
