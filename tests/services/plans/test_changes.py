"""Assigning and editing plans: impact and consent, what cannot be taken away, and what changes meanwhile."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from bazar_cli.domain import plans as use_cases
from bazar_cli.domain.authz.permissions import KEPT_BY_PREMIUM, SEEDED_PLANS, Permission, in_order
from bazar_cli.domain.authz.spec import Scope, requires
from bazar_cli.domain.entities import Pending, Plan, Role, UserState
from bazar_cli.domain.errors import Conflict, NotFound
from bazar_cli.domain.plans import AssignedPlan, AssignPlan, EditedPlan, EditPlan, PlanUsage
from bazar_cli.domain.users import changes as user_cases
from bazar_cli.domain.users.changes import UpdateUser
from bazar_cli.services.gate.backends import Backends
from bazar_cli.services.plans import changes
from bazar_cli.services.plans import read as plans
from bazar_cli.services.users import update
from tests.support.people import People, Someone, granted, impact_of
from tests.support.waiting import until_waiting

LOST = in_order(p.value for p in SEEDED_PLANS[Plan.PREMIUM] - SEEDED_PLANS[Plan.FREE])


@pytest.fixture(autouse=True)
def plan_table(people: People) -> Generator[None]:
    """Put the plan table of this worker's database back."""
    yield
    people.seed_plans()


def assign(people: People, operator: Someone, request: AssignPlan, *, dry_run: bool = False) -> AssignedPlan:
    return people.run(operator, changes.assign, use_cases.ASSIGN, request, dry_run=dry_run)


def grant(people: People, operator: Someone, request: EditPlan, *, dry_run: bool = False) -> EditedPlan:
    return people.run(operator, changes.grant_permission, use_cases.GRANT, request, dry_run=dry_run)


def revoke(people: People, operator: Someone, request: EditPlan, *, dry_run: bool = False) -> EditedPlan:
    return people.run(operator, changes.revoke_permission, use_cases.REVOKE, request, dry_run=dry_run)


def allowed(people: People, plan: Plan) -> set[str]:
    rows = people.sql("SELECT permission FROM bazar.plan_permissions WHERE plan = %s", plan.value)
    return {row["permission"] for row in rows}


# -- assign -------------------------------------------------------------------------------------------------


def test_an_upgrade_asks_nothing(people: People) -> None:
    user = people.user(plan=Plan.FREE)

    done = assign(people, people.superuser(), AssignPlan(user.email, Plan.PREMIUM))

    assert (done.previous, done.user.plan, done.lost, done.gained, done.changed) == (
        *(Plan.FREE, Plan.PREMIUM, (), LOST, True),
    )
    [event] = people.events(user.id)
    assert (event["use_case"], event["before"], event["after"]) == (
        *("plans.assign", {"plan": "free"}, {"plan": "premium"}),
    )


def test_the_plan_that_a_user_has_writes_nothing(people: People) -> None:
    user = people.user(plan=Plan.PLUS)
    before = people.row(user)

    done = assign(people, people.superuser(), AssignPlan(str(user.id), Plan.PLUS))

    assert (done.changed, done.lost, done.gained, done.impact) == (False, (), (), None)
    assert people.row(user) == before
    assert people.events(user.id) == []


def test_a_downgrade_needs_consent(people: People) -> None:
    admin, user = people.superuser(), people.user(plan=Plan.PREMIUM)
    request = AssignPlan(user.email, Plan.FREE)

    impact = impact_of(lambda: assign(people, admin, request))

    assert all(permission in impact.text for permission in LOST)
    assert "superuser" not in impact.text
    assert impact.details["lost"] == list(LOST)
    assert impact.command == f"bazar plans assign {user.email} free --yes"
    assert (people.row(user) or {})["plan"] == "premium"
    assert people.events(user.id) == []
    done = assign(people, admin, replace(request, agreed=impact))
    assert (done.lost, done.gained, (people.row(user) or {})["plan"]) == (LOST, (), "free")


def test_a_superuser_who_leaves_premium_loses_the_right_to_rule(people: People) -> None:
    admin, ruler = people.superuser(), people.superuser()
    for permission in Permission:
        people.sql("INSERT INTO bazar.plan_permissions VALUES ('plus', %s) ON CONFLICT DO NOTHING", permission.value)

    other = impact_of(lambda: assign(people, admin, AssignPlan(ruler.email, Plan.PLUS)))
    oneself = impact_of(lambda: assign(people, admin, AssignPlan(admin.email, Plan.PLUS)))

    assert (other.details["lost"], other.details["rules_no_longer"]) == ([], True)
    assert "superusers need Premium" in other.text
    assert "that is you" not in other.text
    assert "only another superuser on Premium can move you back" in oneself.text


def test_the_impact_on_a_suspended_superuser_says_that_superusers_need_premium(people: People) -> None:
    user = people.user(plan=Plan.PREMIUM, superuser=True, state=UserState.SUSPENDED)

    impact = impact_of(lambda: assign(people, people.superuser(), AssignPlan(user.email, Plan.PLUS)))

    assert impact.details["rules_no_longer"] is True
    assert "superusers need Premium" in impact.text


def test_lost_permissions_are_those_of_the_table_unknown_ones_too(people: People) -> None:
    user = people.user(plan=Plan.PLUS)
    people.sql("DELETE FROM bazar.plan_permissions WHERE plan = 'plus' AND permission = 'files:execute'")
    people.sql("INSERT INTO bazar.plan_permissions VALUES ('plus', 'rockets:launch')")

    impact = impact_of(lambda: assign(people, people.superuser(), AssignPlan(user.email, Plan.FREE)))

    assert impact.details["lost"] == ["rockets:launch"]


def test_a_dry_run_shows_the_same_and_writes_nothing(people: People) -> None:
    user = people.user(plan=Plan.PREMIUM)
    before = people.everything()

    done = assign(people, people.superuser(), AssignPlan(user.email, Plan.FREE), dry_run=True)

    assert (done.user.plan, done.lost, done.impact is not None) == (Plan.FREE, LOST, True)
    assert {k: v for k, v in people.everything().items() if k != "bazar.users"} == {
        k: v for k, v in before.items() if k != "bazar.users"
    }
    assert (people.row(user) or {})["plan"] == "premium"


@pytest.mark.parametrize(
    "meanwhile",
    [
        "UPDATE bazar.users SET plan = 'plus' WHERE id = %(id)s",
        "UPDATE bazar.users SET is_superuser = true WHERE id = %(id)s",
        "INSERT INTO bazar.plan_permissions VALUES ('premium', 'rockets:launch')",
        "DELETE FROM bazar.plan_permissions WHERE plan = 'premium' AND permission = 'users:delete'",
    ],
)
def test_consent_to_another_impact_is_asked_for_again(people: People, meanwhile: str) -> None:
    admin, user = people.superuser(), people.user(plan=Plan.PREMIUM)
    request = AssignPlan(user.email, Plan.FREE)
    shown = impact_of(lambda: assign(people, admin, request))
    with psycopg.connect(people.target.database_url.reveal()) as other:
        other.execute(meanwhile.encode(), {"id": user.id})

    now = impact_of(lambda: assign(people, admin, replace(request, agreed=shown.for_any_number())))

    assert now.text != shown.text
    assert (people.row(user) or {})["plan"] != "free"
    assert people.events(user.id) == []


@pytest.mark.parametrize(
    ("pending", "refused"),
    [
        (Pending.CREATE, True),
        (Pending.INVITE, True),
        (Pending.DELETE, True),
        (Pending.SUSPEND, False),
        (Pending.EMAIL, False),
    ],
)
def test_a_user_being_created_or_deleted_keeps_the_plan(people: People, pending: Pending, refused: bool) -> None:
    user = people.user(pending=pending)
    request = AssignPlan(user.email, Plan.PLUS)
    if not refused:
        assert isinstance(assign(people, people.superuser(), request), AssignedPlan)
        return
    with pytest.raises(Conflict) as conflict:
        assign(people, people.superuser(), request)
    assert conflict.value.code == "users.pending"
    assert (people.row(user) or {})["plan"] == "free"


@pytest.mark.parametrize("oneself", [True, False])
def test_the_last_active_superuser_stays_on_premium(alone: People, oneself: bool) -> None:
    last = alone.superuser()
    alone.user(plan=Plan.PREMIUM, superuser=True, state=UserState.SUSPENDED)
    alone.user(plan=Plan.PREMIUM, superuser=True, pending=Pending.DELETE)
    alone.sql("INSERT INTO bazar.plan_permissions VALUES ('plus', 'plans:assign')")
    operator = last if oneself else alone.user(plan=Plan.PLUS, superuser=True)
    for dry_run in (False, True):
        with pytest.raises(Conflict) as conflict:
            assign(alone, operator, AssignPlan(last.email, Plan.PLUS), dry_run=dry_run)
        assert conflict.value.code == "users.last_superuser"
    assert isinstance(assign(alone, operator, AssignPlan(last.email, Plan.PREMIUM)), AssignedPlan)


def test_an_unknown_user_and_a_lost_plan_are_not_found(alone: People) -> None:
    admin, user = alone.superuser(), alone.user()
    alone.sql("DELETE FROM bazar.plan_permissions WHERE plan = 'plus'")
    alone.sql("DELETE FROM bazar.plans WHERE name = 'plus'")
    edit = EditPlan(Plan.PLUS, Permission.FILES_EXECUTE)
    for tried, code in (
        (lambda: assign(alone, admin, AssignPlan("nobody@example.com", Plan.FREE)), "users.not_found"),
        (lambda: assign(alone, admin, AssignPlan(user.email, Plan.PLUS)), "plans.not_found"),
        (lambda: grant(alone, admin, edit), "plans.not_found"),
        (lambda: revoke(alone, admin, edit), "plans.not_found"),
    ):
        with pytest.raises(NotFound) as missing:
            tried()
        assert missing.value.code == code


# -- grant and revoke ---------------------------------------------------------------------------------------


def test_a_grant_is_done_once_and_recorded_with_both_lists(people: People) -> None:
    admin, edit = people.superuser(), EditPlan(Plan.FREE, Permission.FILES_EXECUTE)
    events = len(people.sql("SELECT 1 FROM bazar.audit_events WHERE target_id = 'free'"))

    first, second = grant(people, admin, edit), grant(people, admin, edit)

    assert (first.changed, second.changed) == (True, False)
    assert Permission.FILES_EXECUTE in first.plan.permissions
    [event] = people.sql("SELECT * FROM bazar.audit_events WHERE target_id = 'free' ORDER BY seq")[events:]
    free = list(in_order(p.value for p in SEEDED_PLANS[Plan.FREE]))
    assert (event["use_case"], event["target_type"]) == ("plans.grant", "plan")
    assert event["before"] == {"permissions": free}
    assert event["after"] == {"permissions": list(in_order([*free, "files:execute"]))}


def test_a_revoke_counts_the_users_who_lose_it_and_needs_consent(alone: People) -> None:
    admin, edit = alone.superuser(), EditPlan(Plan.PLUS, Permission.FILES_EXECUTE)
    alone.user(plan=Plan.PLUS)
    alone.user(plan=Plan.PLUS, state=UserState.SUSPENDED)

    shown = impact_of(lambda: revoke(alone, admin, edit))

    assert shown.text == "2 users on Plus (1 active, 1 suspended) lose files:execute"
    assert shown.command == "bazar plans revoke plus files:execute --yes"
    assert "files:execute" in allowed(alone, Plan.PLUS)
    done = revoke(alone, admin, replace(edit, agreed=shown))
    assert (done.changed, done.active, done.suspended) == (True, 1, 1)
    assert Permission.FILES_EXECUTE not in done.plan.permissions
    assert "files:execute" not in allowed(alone, Plan.PLUS)
    again = revoke(alone, admin, edit)
    assert not again.changed
    [event] = alone.sql("SELECT * FROM bazar.audit_events")
    assert event["use_case"] == "plans.revoke"
    assert set(event["before"]["permissions"]) - set(event["after"]["permissions"]) == {"files:execute"}


def test_consent_to_fewer_users_is_asked_for_again(alone: People) -> None:
    admin, edit = alone.superuser(), EditPlan(Plan.PLUS, Permission.FILES_EXECUTE)
    shown = impact_of(lambda: revoke(alone, admin, edit))
    alone.user(plan=Plan.PLUS)

    now = impact_of(lambda: revoke(alone, admin, replace(edit, agreed=shown)))

    assert (shown.users, now.users) == (0, 1)
    other = replace(edit, permission=Permission.FILES_READ)
    assert impact_of(lambda: revoke(alone, admin, replace(other, agreed=now)))
    assert allowed(alone, Plan.PLUS) == {p.value for p in SEEDED_PLANS[Plan.PLUS]}
    assert isinstance(revoke(alone, admin, replace(edit, agreed=shown.for_any_number())), EditedPlan)


def test_dry_runs_of_edits_show_the_plan_and_write_nothing(people: People) -> None:
    admin, before = people.superuser(), people.everything()
    more = grant(people, admin, EditPlan(Plan.FREE, Permission.FILES_EXECUTE), dry_run=True)
    less = revoke(people, admin, EditPlan(Plan.FREE, Permission.FILES_READ), dry_run=True)
    assert (len(more.plan.permissions), len(less.plan.permissions)) == (6, 4)
    assert less.impact is not None
    assert {**people.everything(), "bazar.users": []} == {**before, "bazar.users": []}


def test_premium_keeps_the_permissions_of_superusers(people: People) -> None:
    admin = people.superuser()
    assert {p for p in Permission if p.value.startswith(("plans:", "db:"))} < KEPT_BY_PREMIUM
    assert KEPT_BY_PREMIUM - {p for p in Permission if p.value.startswith(("plans:", "db:"))} == {
        *(Permission.USERS_READ, Permission.USERS_UPDATE),
    }
    for number, permission in enumerate(KEPT_BY_PREMIUM):
        with pytest.raises(Conflict) as conflict:
            revoke(people, admin, EditPlan(Plan.PREMIUM, permission), dry_run=number % 2 == 0)
        assert conflict.value.code == "plans.protected"
        assert "need it to grant permissions" in conflict.value.message
    assert allowed(people, Plan.PREMIUM) == {p.value for p in Permission}
    assert impact_of(lambda: revoke(people, admin, EditPlan(Plan.PREMIUM, Permission.USERS_DELETE)))
    assert impact_of(lambda: revoke(people, admin, EditPlan(Plan.PLUS, Permission.USERS_READ)))


# -- meanwhile ----------------------------------------------------------------------------------------------


def test_a_permission_revoked_after_the_gate_looked_writes_nothing(people: People) -> None:
    org = people.org()
    me, other = people.user({org: Role.ADMIN}, plan=Plan.PREMIUM), people.user({org: Role.MEMBER})
    request = UpdateUser(other.email, "Pwned")
    rename = granted(people.operator(me), user_cases.UPDATE, request)
    revoked = "DELETE FROM bazar.plan_permissions WHERE plan = 'premium' AND permission = '{}'"
    with psycopg.connect(people.target.database_url.reveal()) as other_session, ThreadPoolExecutor(1) as pool:
        other_session.execute(revoked.format("users:update").encode())
        running = pool.submit(people.run_with, rename, update.update, request)
        until_waiting(people, 1)
        other_session.commit()
        with pytest.raises(Conflict) as conflict:
            running.result()
    assert conflict.value.code == "access.changed"
    assert (people.row(other) or {})["name"] is None
    with pytest.raises(Conflict):
        people.run_with(rename, update.update, request)
    people.seed_plans()
    people.sql(revoked.format("users:delete"))
    assert people.run_with(rename, update.update, request).user.name == "Pwned"


def test_a_grant_that_rests_on_no_permission_writes(people: People) -> None:
    me = people.user()
    named = requires("users.update", Permission.USERS_UPDATE, scope=Scope.ROW, writes=True, oneself="user")
    one = granted(people.operator(me), named, UpdateUser(me.email, "Ada"))
    assert one.permissions == frozenset()
    with Backends(people.target, "a-request") as backends, backends.database().transaction(one) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_revoke_waits_for_the_command_that_rests_on_it(people: People) -> None:
    admin = people.superuser()
    edit = EditPlan(Plan.PREMIUM, Permission.USERS_DELETE)
    agreed = replace(edit, agreed=impact_of(lambda: revoke(people, admin, edit)).for_any_number())
    held = "SELECT 1 FROM bazar.plan_permissions WHERE plan = 'premium' AND permission = 'users:delete' FOR KEY SHARE"
    with psycopg.connect(people.target.database_url.reveal()) as command, ThreadPoolExecutor(1) as pool:
        command.execute(held)
        running = pool.submit(revoke, people, admin, agreed)
        until_waiting(people, 1)
        assert "users:delete" in allowed(people, Plan.PREMIUM)
        command.commit()
        assert isinstance(running.result(), EditedPlan)


def test_two_edits_of_a_plan_come_one_after_the_other(people: People) -> None:
    admin = people.superuser()
    edits = [EditPlan(Plan.FREE, Permission.FILES_EXECUTE), EditPlan(Plan.FREE, Permission.FILES_CREATE)]
    with psycopg.connect(people.target.database_url.reveal()) as holder, ThreadPoolExecutor(2) as pool:
        holder.execute("SELECT 1 FROM bazar.plans WHERE name = 'free' FOR NO KEY UPDATE")
        running = [pool.submit(grant, people, admin, edit) for edit in edits]
        until_waiting(people, 2)
        people.user(plan=Plan.FREE)  # users come and go meanwhile
        holder.rollback()
        assert [future.result().changed for future in running] == [True, True]
    events = people.sql("SELECT before, after FROM bazar.audit_events WHERE target_id = 'free' ORDER BY seq")[-2:]
    assert events[0]["after"] == events[1]["before"]


# -- usage --------------------------------------------------------------------------------------------------


def usage(people: People, operator: Someone) -> list[tuple[str, int, int, int, float]]:
    found = people.run(operator, plans.usage, use_cases.USAGE, None)
    assert {type(row) for row in found} == {PlanUsage}
    return [(row.plan, row.users, row.active, row.suspended, round(row.share, 3)) for row in found]


def test_usage_counts_each_visible_user_once(alone: People) -> None:
    acme, gamma, beta = alone.org(), alone.org(), alone.org()
    me = alone.user({acme: Role.MEMBER, gamma: Role.MEMBER}, plan=Plan.PLUS)
    alone.user({acme: Role.OWNER, gamma: Role.ADMIN, beta: Role.OWNER})
    alone.user({acme: Role.MEMBER}, state=UserState.SUSPENDED)
    foreign, lonely = alone.user({beta: Role.MEMBER}, plan=Plan.PREMIUM), alone.user(plan=Plan.PREMIUM)

    assert usage(alone, me) == [("free", 2, 1, 1, 0.667), ("plus", 1, 1, 0, 0.333), ("premium", 0, 0, 0, 0.0)]
    assert [row[1] for row in usage(alone, foreign)] == [1, 0, 1]
    assert [row[1] for row in usage(alone, lonely)] == [0, 0, 1]
    assert [row[1:4] for row in usage(alone, alone.superuser())] == [(2, 1, 1), (1, 1, 0), (3, 3, 0)]
