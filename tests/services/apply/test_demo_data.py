"""Demo data in both systems: made once, taken back after a reset, and nothing of anybody else's touched."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from bazar_cli.domain import plans
from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.declared.changes import Change
from bazar_cli.domain.declared.state import DeclaredState, DeclaredUser
from bazar_cli.domain.demo.seed import Outcome, Seed, completed, seed_id
from bazar_cli.domain.entities import Plan, Role, UserState
from bazar_cli.domain.errors import BackendUnavailable, Conflict, Denied, Refused
from bazar_cli.domain.orgs import members
from bazar_cli.domain.orgs.members import UpdateMember
from bazar_cli.domain.plans import AssignPlan
from bazar_cli.domain.progress import ignored
from bazar_cli.domain.target import Target
from bazar_cli.services.apply import demo_data
from bazar_cli.services.orgs import members as member_services
from bazar_cli.services.plans import changes
from tests.support.auth_proxy import Fault, auth_proxy
from tests.support.demo import Demo, cast, having, outcomes
from tests.support.people import People, Someone, an_address

CREATED, BACK, COMPLETED = Outcome.CREATED, Outcome.TAKEN_BACK, Outcome.COMPLETED
EXISTING, DIFFERS, FAILED = Outcome.EXISTING, Outcome.DIFFERS, Outcome.FAILED
MANY = 24
"""Enough for several threads."""


@pytest.fixture
def demo(people: People, root: Someone) -> Generator[Demo]:
    """Runs of one superuser, in an unprotected database with the plans as delivered."""
    (found,) = people.sql("SELECT * FROM bazar.deployment")
    yield Demo(people, root)
    people.sql("DELETE FROM bazar.deployment")
    people.sql("INSERT INTO bazar.deployment (id, environment, protected) VALUES (%s, 'local', false)", found["id"])
    people.seed_plans()


def use_cases(people: People, after: int) -> list[str]:
    """The use cases of the events since then, in their order."""
    rows = people.sql("SELECT use_case FROM bazar.audit_events WHERE seq > %s ORDER BY seq", after)
    return [row["use_case"] for row in rows]


@pytest.fixture
def until_now(people: People) -> int:
    """The last event before the test."""
    return people.sql("SELECT coalesce(max(seq), 0) AS last FROM bazar.audit_events")[0]["last"]


def test_made_in_both_systems_each_change_with_an_event(demo: Demo, people: People, until_now: int) -> None:
    data = cast()
    deployment = people.sql("SELECT id FROM bazar.deployment")[0]["id"]
    seeded = demo.seed(data)
    assert outcomes(seeded) == [CREATED] * 4
    assert [o.outcome for o in seeded.organizations] == [CREATED] * 2
    demo.assert_made(data)
    assert demo.ids(data) == {u.email: seed_id(deployment, u.email) for u in data.users}
    assert [user.id for user in seeded.users] == [demo.ids(data)[user.email] for user in data.users]
    counted = use_cases(people, until_now)
    assert counted[0] == "db.seed"
    assert sorted(counted[1:]) == sorted(
        # The owners own by the creation of the organization; one of them is added to the other one.
        ["users.create"] * 4 + ["orgs.create"] * 2 + ["orgs.members.add", "users.suspend"]
    )
    owned = people.sql(
        "SELECT 1 FROM bazar.memberships JOIN bazar.organizations o ON o.id = organization_id"
        " WHERE user_id = %s AND slug = ANY(%s)",
        demo.operator.id,
        [o.slug for o in data.organizations],
    )
    assert owned == []
    events = people.sql("SELECT DISTINCT request_id FROM bazar.audit_events WHERE seq > %s", until_now)
    assert len(events) == 1


def test_again_changes_nothing_and_leaves_no_event(demo: Demo, people: People) -> None:
    data = cast()
    demo.seed(data)
    before = people.everything()
    again = demo.seed(data)
    assert outcomes(again) == [EXISTING] * 4
    assert not again.writes
    assert people.everything() == before


def test_dry_run_foresees_it_and_writes_nothing(demo: Demo, people: People) -> None:
    data = cast()
    before = people.everything()
    foreseen = demo.seed(data, dry_run=True)
    assert people.everything() == before
    assert people.identities_like(data.users[0].email) == []
    assert demo.seed(data) == foreseen


def test_after_a_reset_its_own_identities_are_taken_back(demo: Demo, people: People) -> None:
    data = cast(size=2)
    demo.seed(data)
    ids = demo.ids(data)
    # Somebody whom bazar made in another way has an id that no rule gives.
    moved = uuid.uuid4()
    people.auth("DELETE", f"/admin/users/{ids[data.users[5].email]}").raise_for_status()
    (stamp,) = [i["app_metadata"]["bazar"] for i in people.identities(data.users[0].email)]
    people.identity(Someone(moved, data.users[5].email), app_metadata={"bazar": stamp})
    demo.reset(data)
    assert outcomes(demo.seed(data, dry_run=True)) == [BACK] * 6
    assert outcomes(demo.seed(data)) == [BACK] * 6
    demo.assert_made(data)
    assert demo.ids(data) == {**ids, data.users[5].email: moved}


def test_identity_that_is_taken_back_is_active_or_banned_as_wanted(demo: Demo, people: People) -> None:
    data = cast()
    demo.seed(data)
    people.ban(Someone(demo.ids(data)[data.users[0].email], data.users[0].email))
    people.auth("PUT", f"/admin/users/{demo.ids(data)[data.users[3].email]}", {"ban_duration": "none"})
    demo.reset(data)
    assert outcomes(demo.seed(data)) == [BACK] * 4
    for place, banned in ((0, False), (3, True)):
        (identity,) = people.identities(data.users[place].email)
        assert bool(identity.get("banned_until")) == banned


@pytest.mark.parametrize("size", [0, MANY], ids=["each asked for", "by the list"])
@pytest.mark.parametrize("stamped", [False, True], ids=["without a stamp", "of another Bazar"])
def test_identity_of_somebody_else_is_refused_before_anything_is_written(
    demo: Demo, people: People, stamped: bool, size: int
) -> None:
    data = cast(size)
    stranger = Someone(uuid.uuid4(), data.users[1].email)
    stamp = {"bazar": {"deployment": str(uuid.uuid4()), "origin": "created"}} if stamped else {}
    people.identity(stranger, app_metadata=stamp)
    before = people.everything()
    with pytest.raises(Conflict) as raised:
        demo.seed(data)
    assert raised.value.code == "seed.identity_taken"
    assert stranger.email in raised.value.message
    assert people.everything() == before
    assert [i["id"] for i in people.identities(stranger.email)] == [stranger.id]


def test_identity_of_a_user_with_another_address_is_refused(demo: Demo, people: People) -> None:
    data = cast()
    demo.seed(data)
    people.sql("UPDATE bazar.users SET email = 'moved.' || email WHERE email = %s", data.users[0].email)
    with pytest.raises(Conflict) as raised:
        demo.seed(data)
    assert "a user with another address here" in raised.value.message


def test_id_of_another_address_is_not_used_again(demo: Demo, people: People) -> None:
    data = completed(DeclaredState(users=(DeclaredUser(an_address()),)))
    demo.seed(data)
    (had,) = demo.ids(data).values()
    moved = f"moved.{data.users[0].email}"
    people.auth("PUT", f"/admin/users/{had}", {"email": moved, "email_confirm": True}).raise_for_status()
    demo.reset(data)
    assert outcomes(demo.seed(data)) == [CREATED]
    assert demo.ids(data) != {data.users[0].email: had}
    demo.assert_made(data)


def test_user_with_other_values_is_left_unchanged(demo: Demo, people: People) -> None:
    data = cast()
    kept = [
        people.user(email=data.users[0].email, name="Olga", plan=Plan.PREMIUM),
        people.user(email=data.users[1].email, plan=Plan.FREE),
        people.user(email=data.users[3].email, name="Gone"),
    ]
    for someone in kept:
        people.identity(someone)
    before = [people.row(someone) for someone in kept]
    seeded = demo.seed(data)
    assert outcomes(seeded) == [DIFFERS, DIFFERS, CREATED, DIFFERS]
    assert [u.note for u in seeded.users] == [
        "another organizations",
        "another plan and organizations",
        "",
        "another organizations and state",
    ]
    assert [people.row(someone) for someone in kept] == before
    # Nobody is made owner who is left as they are: whoever ran it owns the first one.
    owners = people.sql(
        "SELECT user_id FROM bazar.memberships m JOIN bazar.organizations o ON o.id = m.organization_id"
        " WHERE role = 'owner' AND slug = ANY(%s)",
        [o.slug for o in data.organizations],
    )
    assert {row["user_id"] for row in owners} == {demo.operator.id, demo.ids(data)[data.users[2].email]}


def test_organization_with_another_name_is_left_unchanged(demo: Demo, people: People) -> None:
    data = cast()
    people.org(slug=data.organizations[0].slug, name="Theirs")
    seeded = demo.seed(data)
    assert [(o.outcome, o.note) for o in seeded.organizations] == [(DIFFERS, "another name"), (CREATED, "")]
    assert outcomes(seeded) == [CREATED] * 4


def _moves_plan(demo: Demo, someone: Someone, _slug: str) -> None:
    demo.people.run(demo.operator, changes.assign, plans.ASSIGN, AssignPlan(str(someone.id), Plan.PREMIUM))


def _gives_role(demo: Demo, someone: Someone, slug: str) -> None:
    request = UpdateMember(slug, str(someone.id), Role.ADMIN)
    demo.people.run(demo.operator, member_services.update, members.UPDATE, request)


def _lets_in(demo: Demo, someone: Someone, _slug: str) -> None:
    # As `users restore` does: with an event of a run that made no demo data.
    demo.people.sql("UPDATE bazar.users SET state = 'active' WHERE id = %s", someone.id)
    demo.people.sql(
        "INSERT INTO bazar.audit_events (id, operator_email, use_case, outcome, target_type, target_id, request_id)"
        " VALUES (gen_random_uuid(), 'root@example.com', 'users.restore', 'done', 'user', %s, 'another run')",
        str(someone.id),
    )


@pytest.mark.parametrize(
    ("change", "note"),
    [(_moves_plan, "another plan"), (_gives_role, "another organizations"), (_lets_in, "another state")],
)
def test_user_that_was_changed_since_is_left_with_a_warning(
    demo: Demo, people: People, change: Callable[[Demo, Someone, str], None], note: str
) -> None:
    data = cast()
    demo.seed(data)
    someone = Someone(demo.ids(data)[data.users[3].email], data.users[3].email)
    change(demo, someone, data.organizations[0].slug)
    before = people.everything()
    seeded = demo.seed(data)
    assert outcomes(seeded) == [EXISTING, EXISTING, EXISTING, DIFFERS]
    assert seeded.users[3].note == note
    assert people.everything() == before


def test_rest_of_an_earlier_run_is_completed(demo: Demo, people: People) -> None:
    data = cast()
    demo.seed(having(data, 3, state=UserState.ACTIVE))
    people.sql(
        "DELETE FROM bazar.memberships USING bazar.organizations o WHERE organization_id = o.id AND o.slug = %s"
        " AND user_id = %s",
        data.organizations[0].slug,
        demo.ids(data)[data.users[2].email],
    )
    # Who was taken back while banned by bazar was not let in; a ban of an hour is somebody else's.
    for place, ban in ((0, "876000h"), (1, "1h")):
        people.auth("PUT", f"/admin/users/{demo.ids(data)[data.users[place].email]}", {"ban_duration": ban})
    assert outcomes(demo.seed(data)) == [COMPLETED, EXISTING, COMPLETED, COMPLETED]
    people.auth("PUT", f"/admin/users/{demo.ids(data)[data.users[1].email]}", {"ban_duration": "none"})
    demo.assert_made(data)
    assert outcomes(demo.seed(data)) == [EXISTING] * 4


def test_user_without_identity_is_named(demo: Demo, people: People) -> None:
    data = cast()
    demo.seed(data)
    people.auth("DELETE", f"/admin/users/{demo.ids(data)[data.users[1].email]}").raise_for_status()
    seeded = demo.seed(data)
    assert (outcomes(seeded)[1], seeded.users[1].note) == (DIFFERS, "no identity at Supabase")


def test_many_are_made_at_once_and_again_by_the_list(demo: Demo, people: People) -> None:
    data = cast(size=MANY)
    seeded = demo.seed(data)
    assert outcomes(seeded) == [CREATED] * len(data.users)
    demo.assert_made(data)
    demo.reset(data)
    assert outcomes(demo.seed(data)) == [BACK] * len(data.users)
    demo.assert_made(data)


def test_by_sql_where_the_database_is_the_projects(target: Target) -> None:
    with People(target) as people, auth_proxy(target) as proxy:
        root = people.superuser()
        people.identity(root)
        data = cast(size=MANY)
        demo = Demo(people, root)
        demo.seed(data)
        people.sql("DELETE FROM bazar.users WHERE email = ANY(%s)", [u.email for u in data.users[1:3]])
        stranger = having(data, 0, email=f"x{data.users[0].email}")
        people.identity(Someone(uuid.uuid4(), stranger.users[0].email))
        with People(proxy.target) as there:
            assert outcomes(Demo(there, root).seed(data, dry_run=True)) == [
                *(EXISTING, BACK, BACK, EXISTING),
                *[EXISTING] * MANY,
            ]
            with pytest.raises(Conflict):
                Demo(there, root).seed(stranger, dry_run=True)
        assert not [asked for asked in proxy.requests if "/admin/users" in asked]


def test_two_at_once_make_each_user_once(demo: Demo, people: People) -> None:
    data = cast(size=MANY)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(demo.seed, data) for _ in range(2)]
        found = [running.result() for running in both]
    assert all(not one.partly_done for one in found)
    demo.assert_made(data)
    assert outcomes(demo.seed(data)) == [EXISTING] * len(data.users)


# -- what ends it ---------------------------------------------------------------------------------------------------


def mark(people: People, protected: bool | None) -> None:
    if protected is None:
        people.sql("DELETE FROM bazar.deployment")
    else:
        people.sql("UPDATE bazar.deployment SET protected = %s", protected)


@pytest.mark.parametrize(("protected", "code"), [(True, "db.protected"), (None, "db.unmarked")])
def test_protected_database_refuses_also_once_it_was_agreed_to(
    demo: Demo, people: People, protected: bool | None, code: str
) -> None:
    data = cast()
    with demo.gate() as gate:
        prepared = demo_data.prepare(gate, Seed(data), dry_run=False)
        mark(people, protected)
        before = people.everything()
        for attempt in (
            lambda: demo_data.carry_out(gate, prepared, ignored),
            lambda: demo_data.prepare(gate, Seed(data), dry_run=True),
            lambda: demo_data.prepare(gate, Seed(data), dry_run=False),
        ):
            with pytest.raises(Refused) as raised:
                attempt()
            assert raised.value.code == code
    assert people.everything() == before
    assert people.identities_like(data.users[0].email) == []


def test_database_that_was_made_again_meanwhile_is_another_one(demo: Demo, people: People, until_now: int) -> None:
    with demo.gate() as gate:
        prepared = demo_data.prepare(gate, Seed(cast()), dry_run=False)
        people.sql("UPDATE bazar.deployment SET id = gen_random_uuid()")
        with pytest.raises(Conflict) as raised:
            demo_data.carry_out(gate, prepared, ignored)
    assert raised.value.code == "seed.database_changed"
    assert use_cases(people, until_now) == []


@pytest.mark.parametrize(
    ("permission", "use_case"),
    [(Permission.USERS_CREATE, "users.create"), (Permission.ORGS_CREATE, "orgs.create")],
)
def test_operator_without_one_of_the_permissions_is_denied_before_the_first_write(
    demo: Demo, people: People, until_now: int, permission: Permission, use_case: str
) -> None:
    data = cast()
    people.sql("DELETE FROM bazar.plan_permissions WHERE plan = 'premium' AND permission = %s", permission.value)
    with pytest.raises(Denied):
        demo.seed(data, dry_run=True)
    assert use_cases(people, until_now) == []
    with pytest.raises(Denied) as raised:
        demo.seed(data)
    assert raised.value.code == "access.plan"
    assert use_cases(people, until_now) == [use_case]
    assert demo.ids(data) == {}


def test_failure_of_one_user_leaves_the_others_alone(demo: Demo, people: People) -> None:
    data = cast(size=MANY)
    with demo.gate() as gate:
        prepared = demo_data.prepare(gate, Seed(data), dry_run=False)
        # Who owns an organization, and who is in it, have their address taken meanwhile.
        for place in (0, 1, 9):
            people.identity(Someone(uuid.uuid4(), data.users[place].email))
        seeded = demo_data.carry_out(gate, prepared, ignored)
    assert seeded.partly_done
    assert [place for place, found in enumerate(outcomes(seeded)) if found is FAILED] == [0, 1, 9]
    assert outcomes(seeded).count(CREATED) == len(data.users) - 3
    assert all("at Supabase" in seeded.users[place].note for place in (0, 1, 9))
    assert [seeded.users[place].id for place in (0, 1, 9)] == [None] * 3
    assert len(demo.ids(data)) == len(data.users) - 3


@pytest.mark.parametrize(
    ("method", "path", "page"),
    [
        pytest.param("POST", "/admin/users", True, id="a creation, by the page of a gateway"),
        pytest.param("PUT", "/admin/users/.*", False, id="a ban, by JSON"),
    ],
)
def test_supabase_that_limits_is_asked_again_when_it_says(
    demo: Demo, people: People, method: str, path: str, page: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What it says itself counts, and not the pause of who says nothing.
    monkeypatch.setattr("bazar_cli.services.apply.workers._FIRST_PAUSE", 3600.0)
    data = cast()
    with auth_proxy(people.target) as proxy, People(proxy.target) as there:
        fault = proxy.add(Fault(method, path, status=429, retry_after="1", page=page))
        began = time.monotonic()
        assert outcomes(Demo(there, demo.operator).seed(data)) == [CREATED] * 4
        assert time.monotonic() - began >= 1
    assert fault.met == 1
    demo.assert_made(data)


def test_limited_look_ups_are_waited_for_too(demo: Demo, people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bazar_cli.services.apply.workers._FIRST_PAUSE", 3600.0)
    data = cast(size=MANY)
    with auth_proxy(people.target) as proxy, People(proxy.target) as there:
        faults = [
            proxy.add(Fault("POST", "/admin/users", status=429)),
            proxy.add(Fault("GET", "/admin/users/.*", status=429, retry_after="1")),
        ]
        assert outcomes(Demo(there, demo.operator).seed(data)) == [CREATED] * len(data.users)
    assert [fault.met for fault in faults] == [1, 1]


@pytest.mark.parametrize("size", [0, MANY])
def test_supabase_that_is_gone_ends_it_and_the_next_run_finishes(demo: Demo, people: People, size: int) -> None:
    data = cast(size)
    with auth_proxy(people.target) as proxy, People(proxy.target) as there:
        proxy.add(Fault("POST", "/admin/users", status=503, lasting=True))
        with pytest.raises(BackendUnavailable):
            Demo(there, demo.operator).seed(data)
    assert 0 < len(demo.ids(data)) < len(data.users)
    assert COMPLETED in outcomes(demo.seed(data))
    demo.assert_made(data)


def test_key_that_is_refused_ends_it_for_all(demo: Demo, people: People) -> None:
    with auth_proxy(people.target) as proxy, People(proxy.target) as there:
        fault = proxy.add(Fault("POST", "/admin/users", status=401, times=None))
        with pytest.raises(Conflict) as raised:
            Demo(there, demo.operator).seed(cast())
    assert (raised.value.code, fault.met) == ("supabase.key_refused", 1)


@pytest.mark.parametrize("state", [UserState.ACTIVE, UserState.SUSPENDED])
def test_lost_answer_of_a_ban_is_asked_for_again_by_the_next_run(demo: Demo, people: People, state: UserState) -> None:
    """The next run finishes the users of a run that ended between the two systems."""
    data = cast()
    if state is UserState.ACTIVE:
        demo.seed(having(data, 0, state=UserState.ACTIVE))
        people.auth("PUT", f"/admin/users/{demo.ids(data)[data.users[0].email]}", {"ban_duration": "876000h"})
        demo.reset(data)
    with auth_proxy(people.target) as proxy, People(proxy.target) as there:
        proxy.add(Fault("PUT", "/admin/users/.*", status=503, lasting=True))
        with pytest.raises(BackendUnavailable):
            Demo(there, demo.operator).seed(data)
    assert COMPLETED in outcomes(demo.seed(data))
    demo.assert_made(data)
    assert outcomes(demo.seed(data)) == [EXISTING] * 4


def test_other_commands_use_the_database_while_it_runs(demo: Demo, people: People) -> None:
    """Between two changes nothing is held: a long run stops nobody."""
    data = cast()
    with auth_proxy(people.target) as proxy, People(proxy.target) as there, ThreadPoolExecutor(1) as pool:
        hold = proxy.hold("POST", "/admin/users", acts=True)
        running = pool.submit(Demo(there, demo.operator).seed, data)
        assert hold.held is not None
        assert hold.held.wait(60)
        with psycopg.connect(people.target.database_url.reveal()) as connection:
            connection.execute("SET lock_timeout = '1s'")
            connection.execute("LOCK TABLE bazar.users, bazar.organizations, bazar.deployment IN EXCLUSIVE MODE")
        hold.release.set()
        assert CREATED in outcomes(running.result())
    assert demo.seed(data).count(EXISTING) == 4


def test_membership_that_cannot_be_given_is_named_and_the_user_kept(demo: Demo, people: People) -> None:
    data = cast()
    with demo.gate() as gate:
        prepared = demo_data.prepare(gate, Seed(data), dry_run=False)
        changes, email = prepared.plan.changes, data.users[2].email
        changes.all += (Change("orgs.members.add", "nowhere", email, after={"role": "member"}),)
        seeded = demo_data.carry_out(gate, prepared, ignored)
    assert (outcomes(seeded)[2], seeded.users[2].id) == (FAILED, demo.ids(data)[data.users[2].email])
    assert "nowhere" in seeded.users[2].note
