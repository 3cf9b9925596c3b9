"""Two commands on one user or organization at the same moment: one waits or loses, says why, and nothing is halved.

Each pair has passed the gate, and has a transaction, before either locks anything.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from bazar_cli.adapters.postgres import operator_rights
from bazar_cli.domain import plans as of_plans
from bazar_cli.domain import waits
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.consent import Impact
from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.errors import BackendUnavailable
from bazar_cli.domain.orgs import members as of_members
from bazar_cli.domain.orgs import organizations as of_orgs
from bazar_cli.domain.orgs.members import AddMember, RemoveMember, UpdateMember
from bazar_cli.domain.orgs.organizations import CreateOrganization, DeleteOrganization
from bazar_cli.domain.plans import AssignPlan
from bazar_cli.domain.users import changes as of_users
from bazar_cli.domain.users import sessions as of_sessions
from bazar_cli.domain.users.changes import (
    ChangeSuperuser,
    DeleteUser,
    ResetPassword,
    RestoreUser,
    SuspendUser,
    UpdateUser,
)
from bazar_cli.domain.users.sessions import OfUser
from bazar_cli.services.gate.backends import Backends
from bazar_cli.services.orgs import members
from bazar_cli.services.orgs import organizations as orgs
from bazar_cli.services.plans import changes
from bazar_cli.services.users import delete as user_deletion
from bazar_cli.services.users import leases, reset_password, superusers, update
from bazar_cli.services.users import sessions as user_sessions
from bazar_cli.services.users import suspend as user_suspension
from tests.support.concurrently import ended, run_concurrently
from tests.support.people import Org, People, Someone, impact_of
from tests.support.waiting import until_turned_away

LAST_SUPERUSER, LAST_OWNER, CHANGED = "users.last_superuser", "users.last_owner", "access.changed"
Act = Callable[[], object]


@pytest.fixture
def meet(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let two commands wait for each other, once, before either locks anything.

    Parameters: `after` is a module and a function of it that both have left by then.
    """

    def arrange(after: tuple[object, str] | None = None) -> None:
        left, before, mine = threading.Barrier(2, timeout=30), threading.Barrier(2, timeout=30), threading.local()
        hold = operator_rights.hold_operator

        def held(*arguments: Any) -> Any:
            if getattr(mine, "left", after is None) and not getattr(mine, "met", False):
                mine.met = True
                before.wait()
            return hold(*arguments)

        monkeypatch.setattr(operator_rights, "hold_operator", held)
        if after is None:
            return
        original = getattr(*after)

        def leaves(*arguments: Any) -> Any:
            result = original(*arguments)
            left.wait()
            mine.left = True
            return result

        monkeypatch.setattr(*after, leaves)

    return arrange


def agreeing(people: People, operator: Someone, service: Any, spec: Any, request: Any) -> object:
    """Run it with consent to the impact."""
    return people.run_agreeing(operator, service, spec, request)


def delete(people: People, operator: Someone, whom: Someone) -> object:
    request = DeleteUser(str(whom.id), whom.email)
    return people.run(operator, user_deletion.delete, of_users.DELETE, request)


def suspend(people: People, operator: Someone, whom: Someone) -> object:
    # Agreed to at once: what is tried is the write, not the question before it.
    request = SuspendUser(str(whom.id), "left", Impact("", "", "", subject=(str(whom.id),)))
    return people.run(operator, user_suspension.suspend, of_users.SUSPEND, request)


def rename(people: People, operator: Someone, whom: Someone, name: str = "Grace", **more: Any) -> object:
    return people.run(operator, update.update, of_users.UPDATE, UpdateUser(str(whom.id), name, **more))


def demote(people: People, operator: Someone, whom: Someone) -> object:
    request = ChangeSuperuser(str(whom.id), whom.email)
    return people.run(operator, superusers.demote, of_users.DEMOTE, request)


def update_member(people: People, operator: Someone, org: Org, whom: Someone, role: Role) -> object:
    request = UpdateMember(str(org.id), str(whom.id), role)
    return people.run(operator, members.update, of_members.UPDATE, request)


def is_whole(people: People, whom: Someone) -> None:
    """Both systems have the user, or neither; nothing is pending, and each change has one event that was done."""
    row = people.row(whom)
    assert len(people.identities(whom.email)) == (0 if row is None else 1)
    if row is not None:
        assert (row["pending"], row["lease_owner"]) == (None, None)
    assert {e["outcome"] for e in people.events(whom.id)} <= {"done"}


# -- who meets a user whom a living command holds ------------------------------------------------------------


def test_a_command_waits_for_the_one_that_holds_the_user(people: People, ruler: Someone) -> None:
    org = people.org()
    owner = people.user({org: Role.OWNER}, plan=Plan.PREMIUM)
    who = {
        name: people.user({} if name == "adds" else {org: Role.MEMBER})
        for name in ("renames", "adds", "updates", "removes", "promotes", "assigns", "resets", "founds")
    }
    doomed = people.org()
    who["dissolves"] = people.user({doomed: Role.MEMBER})
    people.identity(who["resets"])
    plan = AssignPlan(who["assigns"].email, Plan.PLUS)
    acts: dict[str, Act] = {
        "renames": lambda: rename(people, ruler, who["renames"]),
        "adds": lambda: people.run(ruler, members.add, of_members.ADD, AddMember(org.slug, who["adds"].email)),
        "updates": lambda: update_member(people, owner, org, who["updates"], Role.ADMIN),
        "removes": lambda: agreeing(
            people, owner, members.remove, of_members.REMOVE, RemoveMember(org.slug, who["removes"].email)
        ),
        "promotes": lambda: people.run(
            ruler, superusers.promote, of_users.PROMOTE, ChangeSuperuser(who["promotes"].email, who["promotes"].email)
        ),
        "assigns": lambda: agreeing(people, ruler, changes.assign, of_plans.ASSIGN, plan),
        "resets": lambda: people.run(
            ruler, reset_password.reset, of_users.RESET_PASSWORD, ResetPassword(who["resets"].email)
        ),
        "founds": lambda: people.run(
            ruler, orgs.create, of_orgs.CREATE, CreateOrganization(f"New {uuid.uuid4().hex}", owner=who["founds"].email)
        ),
        "dissolves": lambda: people.run(
            ruler, orgs.delete, of_orgs.DELETE, DeleteOrganization(doomed.slug, doomed.slug)
        ),
    }
    ids = [one.id for one in who.values()]
    people.sql(
        "UPDATE bazar.users SET pending = 'create', lease_owner = gen_random_uuid(),"
        " lease_until = clock_timestamp() + interval '1 hour' WHERE id = ANY(%s)",
        ids,
    )
    with ThreadPoolExecutor(len(acts)) as pool:
        running = {name: pool.submit(ended, act) for name, act in acts.items()}
        until_turned_away(people, len(acts))
        assert not any(future.done() for future in running.values())
        people.sql(
            "UPDATE bazar.users SET pending = NULL, lease_owner = NULL, lease_until = NULL WHERE id = ANY(%s)", ids
        )
        assert {name: future.result() for name, future in running.items()} == dict.fromkeys(acts, "done")


# -- who wait for each other ---------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["renames", "resets", "revokes", "founds"])
def test_two_operators_who_change_each_other_both_succeed(people: People, meet: Callable[..., None], what: str) -> None:
    """Each holds the row of its operator, so that no right is lost meanwhile, and locks the other's."""
    me, other = people.superuser(), people.superuser()
    for one in (me, other):
        people.identity(one)

    def act(operator: Someone, whom: Someone) -> object:
        if what == "renames":
            return rename(people, operator, whom, uuid.uuid4().hex)
        if what == "resets":
            return people.run(operator, reset_password.reset, of_users.RESET_PASSWORD, ResetPassword(whom.email))
        if what == "revokes":
            return people.run(operator, user_sessions.revoke, of_sessions.REVOKE, OfUser(str(whom.id)))
        request = CreateOrganization(f"New {uuid.uuid4().hex}", owner=whom.email)
        return people.run(operator, orgs.create, of_orgs.CREATE, request)

    # A reset looks first, asks Supabase, and looks again.
    meet((reset_password, "_has_identity") if what == "resets" else None)
    ends = run_concurrently(lambda: act(me, other), lambda: act(other, me))
    # Without a session of its own in this database nobody ends another's; that is told after the rows were locked.
    assert ends == ["users.sessions_unreadable" if what == "revokes" else "done"] * 2


# -- pairs ---------------------------------------------------------------------------------------------------


def test_update_and_delete_of_one_user(people: People, someone: Someone, meet: Callable[..., None]) -> None:
    first, second = people.superuser(), people.superuser()
    meet()
    renamed, gone = run_concurrently(lambda: rename(people, first, someone), lambda: delete(people, second, someone))
    assert (renamed, gone) in {("done", "done"), ("users.not_found", "done")}
    assert people.row(someone) is None
    is_whole(people, someone)


def test_suspend_and_delete_of_one_user(people: People, someone: Someone, meet: Callable[..., None]) -> None:
    first, second = people.superuser(), people.superuser()
    meet()
    out, gone = run_concurrently(lambda: suspend(people, first, someone), lambda: delete(people, second, someone))
    assert (out, gone) in {("done", "done"), ("users.not_found", "done")}
    assert people.row(someone) is None
    is_whole(people, someone)


def test_member_update_and_delete_of_one_user(people: People, meet: Callable[..., None]) -> None:
    org = people.org()
    first, second = people.superuser(), people.superuser()
    member = people.user({org: Role.MEMBER})
    people.identity(member)
    meet()
    changed, gone = run_concurrently(
        lambda: update_member(people, first, org, member, Role.ADMIN), lambda: delete(people, second, member)
    )
    assert (changed, gone) in {("done", "done"), ("users.not_found", "done")}
    is_whole(people, member)


def test_restore_and_delete_of_a_suspended_user(people: People, someone: Someone, meet: Callable[..., None]) -> None:
    first, second = people.superuser(), people.superuser()
    suspend(people, first, someone)
    meet()
    back, gone = run_concurrently(
        lambda: people.run(first, user_suspension.restore, of_users.RESTORE, RestoreUser(str(someone.id))),
        lambda: delete(people, second, someone),
    )
    assert (back, gone) in {("done", "done"), ("users.not_found", "done")}
    is_whole(people, someone)


def test_of_two_under_one_condition_one_wins(people: People, someone: Someone, meet: Callable[..., None]) -> None:
    first, second = people.superuser(), people.superuser()
    since = (people.row(someone) or {})["updated_at"]
    meet()
    ends = run_concurrently(
        lambda: rename(people, first, someone, "Grace", if_unchanged_since=since),
        lambda: rename(people, second, someone, "Joan", if_unchanged_since=since),
    )
    assert sorted(ends) == ["done", "users.changed_since"]
    [event] = people.events(someone.id)
    assert event["after"] == {"name": (people.row(someone) or {})["name"]}


@pytest.mark.parametrize("ends_by", ["remove", "demotion", "delete"])
def test_two_owners_at_once_leave_one(people: People, meet: Callable[..., None], ends_by: str) -> None:
    """A suspension locks the user and then the organization, a removal the organization and then the user."""
    org = people.org()
    ada, bob = people.user({org: Role.OWNER}), people.user({org: Role.OWNER})
    rulers = [people.superuser() for _ in range(2)]

    def goes() -> object:
        if ends_by == "remove":
            return agreeing(people, rulers[1], members.remove, of_members.REMOVE, RemoveMember(org.slug, bob.email))
        if ends_by == "demotion":
            return update_member(people, rulers[1], org, bob, Role.MEMBER)
        return delete(people, rulers[1], bob)

    meet()
    ends = run_concurrently(lambda: suspend(people, rulers[0], ada), goes)
    assert sorted(ends) == ["done", LAST_OWNER]
    left = people.sql(
        "SELECT 1 FROM bazar.memberships m JOIN bazar.users u ON u.id = m.user_id"
        " WHERE m.organization_id = %s AND m.role = 'owner' AND u.state = 'active' AND u.pending IS NULL",
        org.id,
    )
    assert len(left) == 1


@pytest.mark.parametrize(("first", "second"), [("suspend", "demote"), ("assign", "demote"), ("assign", "assign")])
@pytest.mark.parametrize("mutual", [True, False], ids=["each other", "by others"])
def test_the_last_two_superusers_at_once_leave_one(
    alone: People, meet: Callable[..., None], first: str, second: str, mutual: bool
) -> None:
    ada, bob = alone.superuser(), alone.superuser()
    if not mutual:
        # On Plus a superuser rules nothing, but for what the plan is given here.
        given = "('plus', 'users:update'), ('plus', 'plans:assign')"
        alone.sql(f"INSERT INTO bazar.plan_permissions (plan, permission) VALUES {given}")
    others = [alone.user(plan=Plan.PLUS, superuser=True) for _ in range(2)]
    operators = (ada, bob) if mutual else others

    def taking(verb: str, operator: Someone, whom: Someone) -> Act:
        if verb == "suspend":
            return lambda: suspend(alone, operator, whom)
        if verb == "demote":
            return lambda: demote(alone, operator, whom)
        request = AssignPlan(str(whom.id), Plan.FREE)
        # Agreed to before, as a person does who saw it.
        impact = impact_of(lambda: alone.run(operator, changes.assign, of_plans.ASSIGN, request))
        return lambda: alone.run(operator, changes.assign, of_plans.ASSIGN, replace(request, agreed=impact))

    tries = (taking(first, operators[0], bob), taking(second, operators[1], ada))
    meet()
    ends = run_concurrently(*tries)
    assert sorted(ends) in ([CHANGED, "done"], ["done", LAST_SUPERUSER]), ends
    left = alone.sql(
        "SELECT 1 FROM bazar.users WHERE is_superuser AND plan = 'premium' AND state = 'active' AND pending IS NULL"
    )
    assert len(left) == 1


@pytest.mark.parametrize(
    ("sqlstate", "seconds", "tried"),
    [("40P01", 30.0, 2), ("40P01", -1.0, 1), ("57014", 30.0, 1)],
    ids=["a deadlock", "a deadlock at the end of the wait", "another error"],
)
def test_only_a_deadlock_is_tried_again(
    people: People, ruler: Someone, monkeypatch: pytest.MonkeyPatch, sqlstate: str, seconds: float, tried: int
) -> None:
    monkeypatch.setattr(waits, "OF_A_COMMAND", replace(waits.OF_A_COMMAND, lease=seconds))
    tries: list[object] = []

    def step(connection: object) -> None:
        tries.append(connection)
        if len(tries) == 1:
            raise BackendUnavailable("postgres.unavailable", "away", details={"sqlstate": sqlstate})

    def steps(backends: Backends, grant: Grant, _request: UpdateUser) -> None:
        leases.when_free(step, backends, grant)

    end = ended(lambda: people.run(ruler, steps, of_users.UPDATE, UpdateUser(ruler.email)))
    assert (end, len(tries)) == ("done" if tried == 2 else "postgres.unavailable", tried)
