"""Members of organizations: who manages whom, what is already so, and what holds when two act at once."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import psycopg
import pytest

from bazar_cli.domain.consent import Impact
from bazar_cli.domain.entities import Pending, Plan, Role, UserState
from bazar_cli.domain.errors import BazarError, Conflict, Denied, NotFound, RightsChanged, UsageError
from bazar_cli.domain.orgs import members as use_cases
from bazar_cli.domain.orgs import organizations as org_use_cases
from bazar_cli.domain.orgs.members import AddMember, ListMembers, Member, MemberChange, RemoveMember, UpdateMember
from bazar_cli.domain.orgs.organizations import DeleteOrganization, UpdateOrganization
from bazar_cli.services.orgs import members
from bazar_cli.services.orgs import organizations as orgs
from tests.support.people import Org, People, Someone, granted

LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)


def add(people: People, operator: Someone, org: Org, who: Someone, role: Role = Role.MEMBER) -> MemberChange:
    return people.run(operator, members.add, use_cases.ADD, AddMember(org.slug, who.email, role))


def update(
    people: People, operator: Someone, org: Org, who: Someone, role: Role, *, dry_run: bool = False
) -> MemberChange:
    request = UpdateMember(str(org.id), str(who.id), role)
    return people.run(operator, members.update, use_cases.UPDATE, request, dry_run=dry_run)


def remove(people: People, operator: Someone, org: Org, who: Someone) -> MemberChange:
    """Remove somebody, with consent to the impact."""
    request = RemoveMember(org.slug, who.email)
    return people.run_agreeing(operator, members.remove, use_cases.REMOVE, request)


def remove_as_agreed(people: People, operator: Someone, org: Org, who: Someone, role: Role) -> object:
    """Remove somebody with the consent given before: one pass of the gate, where `remove` passes it twice."""
    agreed = Impact("", "", "", subject=(str(org.id), str(who.id), role.value))
    return people.run(operator, members.remove, use_cases.REMOVE, RemoveMember(str(org.id), str(who.id), agreed))


def page(people: People, operator: Someone, request: ListMembers) -> list[Member]:
    """All pages of a list."""
    found: list[Member] = []
    while True:
        one = people.run(operator, members.list_page, use_cases.LIST, request)
        found += one.items
        if one.next_cursor is None:
            return found
        assert len(one.items) == request.limit
        request = replace(request, cursor=one.next_cursor)


def manager(people: People, org: Org, role: Role) -> Someone:
    return people.user({org: role}, plan=Plan.PREMIUM)


def role_in(people: People, org: Org, who: Someone) -> str | None:
    rows = people.sql("SELECT role FROM bazar.memberships WHERE organization_id = %s AND user_id = %s", org.id, who.id)
    return rows[0]["role"] if rows else None


def refused(people: People, act: Callable[[], object]) -> str:
    """Do what must fail and leave no trace; return the code."""
    before = people.everything()
    with pytest.raises(BazarError) as error:
        act()
    assert people.everything() == before
    return error.value.code


# -- rule 5: who manages whom ------------------------------------------------------------------------------


OPERATORS = ("superuser", "owner", "admin", "member")
GIVES = {"superuser": set(Role), "owner": set(Role), "admin": {Role.MEMBER}, "member": set[Role]()}
"""An operator gives and takes the same roles."""


def operator_of(people: People, org: Org, name: str) -> Someone:
    return people.superuser() if name == "superuser" else manager(people, org, Role(name))


@pytest.mark.parametrize("name", OPERATORS)
def test_roles_that_each_operator_gives(people: People, name: str) -> None:
    org, other = people.org(), people.org()
    me = operator_of(people, org, name)
    people.sql("INSERT INTO bazar.memberships VALUES (%s, %s, 'member')", other.id, me.id)
    for role in Role:
        who = people.user({other: Role.OWNER})
        if role in GIVES[name]:
            assert add(people, me, org, who, role) == MemberChange(org.slug, who.id, who.email, role, None)
            assert role_in(people, org, who) == role
            [event] = people.events(who.id)
            assert (event["use_case"], event["organization_id"]) == ("orgs.members.add", org.id)
            assert (event["before"], event["after"]) == (None, {"organization": org.slug, "role": role})
        else:
            assert refused(people, lambda who=who, role=role: add(people, me, org, who, role)) == "access.role"


@pytest.mark.spread
@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("current", list(Role))
def test_role_changes_that_each_operator_may_make(people: People, name: str, current: Role) -> None:
    org = people.org()
    me = operator_of(people, org, name)
    people.user({org: Role.OWNER})
    for wanted in Role:
        who = people.user({org: current})
        if {current, wanted} <= GIVES[name]:
            assert update(people, me, org, who, wanted).changed == (current is not wanted)
            assert role_in(people, org, who) == wanted
            expected = [({"organization": org.slug, "role": current}, {"organization": org.slug, "role": wanted})]
            found = [(event["before"], event["after"]) for event in people.events(who.id)]
            assert found == (expected if current is not wanted else [])
        else:
            assert refused(people, lambda who=who, wanted=wanted: update(people, me, org, who, wanted)) == "access.role"


@pytest.mark.parametrize("name", OPERATORS)
def test_members_that_each_operator_may_remove(people: People, name: str) -> None:
    org = people.org()
    me = operator_of(people, org, name)
    people.user({org: Role.OWNER})
    for current in Role:
        who = people.user({org: current})
        if current in GIVES[name]:
            assert remove(people, me, org, who) == MemberChange(org.slug, who.id, who.email, None, current)
            assert role_in(people, org, who) is None
            assert people.row(who) is not None
            [event] = people.events(who.id)
            assert (event["before"], event["after"]) == ({"organization": org.slug, "role": current}, None)
        else:
            assert refused(people, lambda who=who: remove(people, me, org, who)) == "access.role"


@pytest.mark.parametrize("own", list(Role))
def test_oneself_steps_down_or_leaves_and_never_rises(people: People, own: Role) -> None:
    org = people.org()
    people.user({org: Role.OWNER})
    for wanted in Role:
        me = manager(people, org, own)
        if wanted.rank > own.rank:
            assert refused(people, lambda me=me, wanted=wanted: update(people, me, org, me, wanted)) == "access.role"
            continue
        assert update(people, me, org, me, wanted).role is wanted
        assert role_in(people, org, me) == wanted
        assert remove(people, me, org, me).changed
        assert role_in(people, org, me) is None


def test_role_in_another_organization_does_not_count(people: People) -> None:
    acme, beta = people.org(), people.org()
    me = people.user({acme: Role.MEMBER, beta: Role.OWNER}, plan=Plan.PREMIUM)
    there, here = people.user({beta: Role.MEMBER}), people.user({acme: Role.MEMBER})
    assert refused(people, lambda: add(people, me, acme, there)) == "access.role"
    assert refused(people, lambda: remove(people, me, acme, here)) == "access.role"
    assert refused(people, lambda: update(people, me, acme, there, Role.MEMBER)) == "access.role"
    assert refused(people, lambda: remove(people, me, acme, there)) == "access.role"


def test_membership_of_a_superuser_is_like_any_other(people: People) -> None:
    org = people.org()
    ruler = people.user({org: Role.MEMBER}, plan=Plan.PREMIUM, superuser=True)
    assert remove(people, manager(people, org, Role.ADMIN), org, ruler).changed


def test_out_of_reach_reads_as_unknown(people: People) -> None:
    acme, beta = people.org(), people.org()
    me = manager(people, acme, Role.OWNER)
    hidden = (people.user({beta: Role.MEMBER}), people.user(), Someone(uuid.uuid4(), "nobody.at.all@example.com"))
    texts: set[str] = set()
    for who in hidden:
        for act in (add, remove):
            with pytest.raises(NotFound) as missing:
                act(people, me, acme, who)
            assert missing.value.code == "users.not_found"
            texts.add(f"{missing.value.message} {missing.value.hint}".replace(who.email, "WHO"))
    assert len(texts) == 1
    assert refused(people, lambda: add(people, me, beta, me)) == "orgs.not_found"


# -- already so --------------------------------------------------------------------------------------------


def test_a_role_that_the_member_has_writes_nothing(people: People) -> None:
    org, other = people.org(), people.org()
    me = people.user({org: Role.OWNER, other: Role.MEMBER}, plan=Plan.PREMIUM)
    who, outside = people.user({org: Role.ADMIN}), people.user({other: Role.MEMBER})
    before = people.everything()

    assert not add(people, me, org, who, Role.ADMIN).changed
    assert not update(people, me, org, who, Role.ADMIN).changed
    assert not remove(people, me, org, outside).changed
    assert not update(people, me, org, me, Role.OWNER).changed

    assert people.everything() == before


def test_a_member_with_another_role_is_a_conflict_that_names_the_command(people: People) -> None:
    org = people.org()
    me, who = manager(people, org, Role.OWNER), people.user({org: Role.ADMIN})

    with pytest.raises(Conflict) as conflict:
        add(people, me, org, who)

    assert (conflict.value.code, conflict.value.details["role"]) == ("members.differs", "admin")
    assert f"`bazar orgs members update {org.slug} {who.email} --role member`" in conflict.value.hint
    assert role_in(people, org, who) == "admin"


def test_a_user_who_is_not_a_member_has_no_role_to_change(people: People) -> None:
    org, other = people.org(), people.org()
    me = people.user({org: Role.OWNER, other: Role.MEMBER}, plan=Plan.PREMIUM)
    outside = people.user({other: Role.MEMBER})

    assert refused(people, lambda: update(people, me, org, outside, Role.ADMIN)) == "members.not_found"


@pytest.mark.parametrize("pending", [Pending.CREATE, Pending.INVITE, Pending.DELETE])
def test_a_user_being_created_or_deleted_is_not_changed(people: People, pending: Pending) -> None:
    org, other = people.org(), people.org()
    me = people.user({org: Role.OWNER, other: Role.OWNER}, plan=Plan.PREMIUM)
    inside, outside = (people.user({o: Role.MEMBER}, pending=pending) for o in (org, other))

    assert refused(people, lambda: add(people, me, org, outside)) == "users.pending"
    assert refused(people, lambda: update(people, me, org, inside, Role.ADMIN)) == "users.pending"
    assert refused(people, lambda: remove(people, me, org, inside)) == "users.pending"


def test_a_dry_run_writes_nothing(people: People) -> None:
    org, who = people.org(), people.user()
    ruler = people.superuser()
    before = people.everything()

    planned = people.run(ruler, members.add, use_cases.ADD, AddMember(org.slug, who.email), dry_run=True)

    assert planned == MemberChange(org.slug, who.id, who.email, Role.MEMBER, None)
    assert people.everything() == before


# -- the last owner ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["nobody", "admin", "suspended", "deleted", "created", "invited"])
def test_last_active_owner_is_kept(people: People, other: str) -> None:
    org, ruler = people.org(), people.superuser()
    last = manager(people, org, Role.OWNER)
    if other != "nobody":
        state = UserState.SUSPENDED if other == "suspended" else UserState.ACTIVE
        # Whom Supabase refuses is taken back, and would leave nobody.
        pending = {"deleted": Pending.DELETE, "created": Pending.CREATE, "invited": Pending.INVITE}.get(other)
        people.user({org: Role.ADMIN if other == "admin" else Role.OWNER}, state=state, pending=pending)
    for operator in (last, ruler):
        assert refused(people, lambda op=operator: remove(people, op, org, last)) == "users.last_owner"
        assert refused(people, lambda op=operator: update(people, op, org, last, Role.ADMIN)) == "users.last_owner"


def test_an_organization_is_handed_over(people: People) -> None:
    org = people.org()
    old, new = manager(people, org, Role.OWNER), people.user({org: Role.MEMBER})

    with pytest.raises(Conflict) as last:
        update(people, old, org, old, Role.MEMBER)
    assert f"`bazar orgs members update {org.slug} USER --role owner`" in last.value.hint
    update(people, old, org, new, Role.OWNER)
    update(people, old, org, old, Role.MEMBER)

    assert (role_in(people, org, old), role_in(people, org, new)) == ("member", "owner")


# -- lists -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3, 50])
def test_pages_are_complete_in_order_and_filtered(people: People, limit: int) -> None:
    org, foreign = people.org(), people.org()
    made = [people.user({org: list(Role)[n % 3], foreign: Role.OWNER}) for n in range(7)]
    for n, who in enumerate(made):
        people.sql(
            "UPDATE bazar.memberships SET created_at = %s WHERE user_id = %s AND organization_id = %s",
            LONG_AGO + timedelta(microseconds=n // 3),
            who.id,
            org.id,
        )

    found = page(people, made[0], ListMembers(org.slug, limit=limit))
    keys = [(m.joined_at, m.user_id) for m in found]
    assert {m.user_id for m in found} == {who.id for who in made}
    assert keys == sorted(keys)
    assert len(set(keys)) == len(made)
    for role in Role:
        filtered = page(people, made[0], ListMembers(org.slug, role=role, limit=limit))
        assert filtered == [m for m in found if m.role is role]


def test_list_is_for_operators_who_see_the_organization(people: People) -> None:
    org = people.org()
    who = people.user({org: Role.MEMBER}, name="Mia", state=UserState.SUSPENDED)
    [seen] = page(people, people.superuser(), ListMembers(org.slug))
    assert (seen.user_id, seen.email, seen.name) == (who.id, who.email, "Mia")
    assert (seen.role, seen.state) == (Role.MEMBER, UserState.SUSPENDED)
    stranger = people.user()
    assert refused(people, lambda: page(people, stranger, ListMembers(org.slug))) == "orgs.not_found"
    with pytest.raises(UsageError, match="cursor"):
        page(people, people.superuser(), ListMembers(org.slug, cursor="nonsense"))


def test_a_page_is_a_walk_along_an_index(people: People) -> None:
    """Deep in a large organization a page reads about as many rows as it shows: no sort, no scan of the whole."""
    org = people.org()
    with psycopg.connect(people.target.database_url.reveal()) as connection:
        connection.execute(
            "WITH made AS (INSERT INTO bazar.users (id, email)"
            "  SELECT gen_random_uuid(), %(tag)s || n || '@example.com' FROM generate_series(1, 10000) n RETURNING id)"
            " INSERT INTO bazar.memberships (organization_id, user_id, role, created_at)"
            " SELECT %(org)s, id, CASE WHEN random() < 0.005 THEN 'owner' ELSE 'member' END,"
            "        timestamptz '2020-01-01' + random() * interval '1 year' FROM made",
            {"tag": f"crowd{org.id.hex}", "org": org.id},
        )
        connection.execute("ANALYZE bazar.memberships, bazar.users")
        whole, leaders = "memberships_organization_id_created_at_user_id_idx", "memberships_leaders_idx"
        for role, index in (("", whole), (" AND m.role = 'member'", whole), (" AND m.role = 'owner'", leaders)):
            [(plan,)] = connection.execute(
                (
                    "EXPLAIN (FORMAT JSON) SELECT u.email, m.role FROM bazar.memberships m"
                    " JOIN bazar.users u ON u.id = m.user_id"
                    " WHERE m.organization_id = %s AND (m.created_at, m.user_id) > (timestamptz '2020-06-01', %s)"
                    f"{role} ORDER BY m.created_at, m.user_id LIMIT 21"
                ).encode(),
                (org.id, uuid.UUID(int=0)),
            ).fetchall()
            assert index in str(plan)
            assert "'Sort'" not in str(plan)
            assert "Seq Scan" not in str(plan)
        connection.rollback()


# -- at the same moment ------------------------------------------------------------------------------------


def run_concurrently(people: People, org: Org, *acts: Callable[[People], object]) -> list[str]:
    """Run acts that have all passed the gate before any of them gets the organization; their codes, or `ok`."""

    def run(act: Callable[[People], object]) -> str:
        with People(people.target) as own:
            try:
                act(own)
            except BazarError as error:
                return error.code
            return "ok"

    with psycopg.connect(people.target.database_url.reveal()) as holder, ThreadPoolExecutor(len(acts)) as pool:
        holder.execute("SELECT 1 FROM bazar.organizations WHERE id = %s FOR UPDATE", (org.id,))
        running: list[Future[str]] = []
        for number, act in enumerate(acts, 1):
            running.append(pool.submit(run, act))
            until_waiting(people, number)
        holder.rollback()
        return [future.result() for future in running]


def until_waiting(people: People, count: int, unless: Callable[[], bool] = lambda: False) -> None:
    waiting = 0
    while waiting < count and not unless():
        [row] = people.sql(
            "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        waiting = row["n"]


def owners_of(people: People, org: Org) -> int:
    return len(people.sql("SELECT 1 FROM bazar.memberships WHERE organization_id = %s AND role = 'owner'", org.id))


def test_last_two_owners_who_leave_at_once_leave_one(people: People) -> None:
    org = people.org()
    ada, bob = manager(people, org, Role.OWNER), manager(people, org, Role.OWNER)
    ends = run_concurrently(
        people, org, lambda p: remove(p, ada, org, ada), lambda p: update(p, bob, org, bob, Role.MEMBER)
    )
    assert sorted(ends) == ["ok", "users.last_owner"]
    assert owners_of(people, org) == 1


def test_two_owners_who_demote_each_other_leave_one(people: People) -> None:
    org = people.org()
    ada, bob = manager(people, org, Role.OWNER), manager(people, org, Role.OWNER)
    ends = run_concurrently(
        people, org, lambda p: update(p, ada, org, bob, Role.MEMBER), lambda p: update(p, bob, org, ada, Role.MEMBER)
    )
    assert sorted(ends) == ["access.changed", "ok"]
    assert owners_of(people, org) == 1


def test_removals_of_two_owners_wait_for_each_other(people: People) -> None:
    """The first one has seen that another owner is left, and has not written yet, when the second one comes."""
    org = people.org()
    ada, bob = people.user({org: Role.OWNER}), people.user({org: Role.OWNER})
    rulers = [people.superuser(), people.superuser()]
    with (
        psycopg.connect(people.target.database_url.reveal()) as holder,
        People(people.target) as one,
        People(people.target) as two,
        ThreadPoolExecutor(2) as pool,
    ):
        holder.execute("SELECT 1 FROM bazar.memberships WHERE user_id = %s FOR SHARE", (ada.id,))
        first = pool.submit(update, one, rulers[0], org, ada, Role.MEMBER)
        until_waiting(people, 1)
        second = pool.submit(remove, two, rulers[1], org, bob)
        until_waiting(people, 2, unless=second.done)
        holder.rollback()
        assert first.result().changed
        with pytest.raises(Conflict) as last:
            second.result()
    assert last.value.code == "users.last_owner"
    assert owners_of(people, org) == 1


def test_two_adds_of_one_user(people: People) -> None:
    org, who = people.org(), people.user()
    rulers = [people.superuser(), people.superuser()]
    ends = run_concurrently(
        people, org, lambda p: add(p, rulers[0], org, who), lambda p: add(p, rulers[1], org, who, Role.ADMIN)
    )
    assert sorted(ends) == ["members.differs", "ok"]
    assert len(people.events(who.id)) == 1


def delete(people: People, operator: Someone, org: Org) -> object:
    request = DeleteOrganization(str(org.id), org.slug)
    return people.run(operator, orgs.delete, org_use_cases.DELETE, request)


@pytest.mark.parametrize("first", ["delete", "other"])
@pytest.mark.parametrize("what", ["add", "update", "remove", "rename", "delete"])
@pytest.mark.parametrize("operators", ["owners", "superusers"])
def test_deletion_and_another_change_at_once(people: People, first: str, what: str, operators: str) -> None:
    org, other = people.org(), people.org()
    roles = {org: Role.OWNER, other: Role.MEMBER}
    ada, bob = (people.superuser() if operators == "superusers" else manager_of(people, roles) for _ in range(2))
    member, outside = people.user({org: Role.MEMBER}), people.user({other: Role.MEMBER})

    def deletes(p: People) -> object:
        return delete(p, ada, org)

    def changes(p: People) -> object:
        if what == "add":
            return add(p, bob, org, outside)
        if what == "update":
            return update(p, bob, org, member, Role.ADMIN)
        if what == "remove":
            return remove_as_agreed(p, bob, org, member, Role.MEMBER)
        if what == "rename":
            request = UpdateOrganization(str(org.id), name="New")
            return p.run(bob, orgs.update, org_use_cases.UPDATE, request)
        return delete(p, bob, org)

    acts = [deletes, changes] if first == "delete" else [changes, deletes]
    ends = run_concurrently(people, org, *acts)
    deleted, changed = ends if first == "delete" else reversed(ends)

    lost = "access.changed" if operators == "owners" else "orgs.not_found"
    possible = {("ok", lost)} | ({(lost, "ok")} if what == "delete" else {("ok", "ok")})
    assert (deleted, changed) in possible
    assert people.sql("SELECT 1 FROM bazar.organizations WHERE id = %s", org.id) == []
    assert people.sql("SELECT 1 FROM bazar.memberships WHERE organization_id = %s", org.id) == []
    assert all(people.row(who) for who in (ada, bob, member, outside))
    done = [
        event["use_case"]
        for event in people.sql(
            "SELECT use_case FROM bazar.audit_events WHERE organization_id = %s AND outcome = 'done'", org.id
        )
    ]
    assert done.count("orgs.delete") == 1
    assert len(done) == ends.count("ok")


def manager_of(people: People, roles: dict[Org, Role]) -> Someone:
    return people.user(roles, plan=Plan.PREMIUM)


def test_rights_lost_before_the_write_count(people: People) -> None:
    org = people.org()
    me, who = manager(people, org, Role.OWNER), people.user({org: Role.MEMBER})
    people.user({org: Role.OWNER})

    def act(p: People) -> object:
        return update(p, me, org, who, Role.ADMIN)

    with psycopg.connect(people.target.database_url.reveal()) as other, ThreadPoolExecutor(1) as pool:
        other.execute("UPDATE bazar.memberships SET role = 'member' WHERE user_id = %s", (me.id,))
        running = pool.submit(act, people)
        with People(people.target) as watcher:
            until_waiting(watcher, 1)
        other.commit()
        with pytest.raises(Conflict) as lost:
            running.result()
    assert lost.value.code == "access.changed"
    assert role_in(people, org, who) == "member"


def test_a_denial_names_the_own_role(people: People) -> None:
    org = people.org()
    me, owner = manager(people, org, Role.ADMIN), people.user({org: Role.OWNER})
    with pytest.raises(Denied, match="your role is admin") as denied:
        remove(people, me, org, owner)
    assert denied.value.details == {"organization": org.slug, "role": "owner", "own_role": "admin"}


def test_unknown_organization_stays_unknown_while_memberships_change(people: People) -> None:
    """Nothing of the answer rests on them: a script that asks for the exit code of an unknown user still gets it."""
    org, other = people.org(), people.org()
    me = manager_of(people, {org: Role.OWNER, other: Role.OWNER})
    request = UpdateMember(org.slug, "nobody@example.com", Role.ADMIN)
    elsewhere = UpdateMember("no-such-organization", me.email, Role.ADMIN)
    grants = [granted(people.operator(me), use_cases.UPDATE, asked) for asked in (request, elsewhere)]
    people.sql("DELETE FROM bazar.organizations WHERE id = %s", other.id)
    for grant, asked, code in zip(grants, (request, elsewhere), ("users.not_found", "orgs.not_found"), strict=True):
        with pytest.raises(NotFound) as unknown:
            people.run_with(grant, members.update, asked)
        assert unknown.value.code == code


@pytest.mark.parametrize("named", ["organization", "user"])
def test_organization_that_became_visible_meanwhile_is_found(people: People, named: str) -> None:
    org, other = people.org(), people.org()
    me, who = manager_of(people, {org: Role.OWNER}), people.user({other: Role.MEMBER})
    request = AddMember((other if named == "organization" else org).slug, who.email)
    grant = granted(people.operator(me), use_cases.ADD, request)
    people.sql("INSERT INTO bazar.memberships VALUES (%s, %s, 'owner')", other.id, me.id)
    with pytest.raises(RightsChanged):
        people.run_with(grant, members.add, request)
