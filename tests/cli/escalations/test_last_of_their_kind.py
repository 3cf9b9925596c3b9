"""The last superuser and the last owner, and rights that go while a command runs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from bazar_cli.domain.entities import Pending, Plan, Role, UserState
from tests.cli.escalations.conftest import JSON, Realm, World
from tests.support.cli import Bazar, Done
from tests.support.people import People, Someone
from tests.support.waiting import until_waiting

AsUser = Callable[[Someone], Bazar]
LAST = (6, "users.last_superuser")


def delete(someone: Someone) -> tuple[str, ...]:
    return ("users", "delete", someone.email, "--confirm", someone.email)


def suspend(someone: Someone) -> tuple[str, ...]:
    return ("users", "suspend", someone.email, "--reason", "left", "--yes")


def plus_deletes(realm: Realm) -> None:
    """Let Plus delete and change users too: without it only those who rule could try it on the last who does."""
    realm.people.sql(
        "INSERT INTO bazar.plan_permissions (plan, permission)"
        " VALUES ('plus', 'users:delete'), ('plus', 'users:update')"
    )


def run_concurrently(people: People, whoms: tuple[Someone, ...], *tries: tuple[Bazar, tuple[str, ...]]) -> list[Done]:
    """Run commands that all pass the gate first: the rows that they need are held until every one waits."""
    for bazar, _ in tries:
        bazar("users", "me").ok()
    with psycopg.connect(people.target.database_url.reveal()) as holder, ThreadPoolExecutor(len(tries)) as pool:
        holder.execute("SELECT 1 FROM bazar.users WHERE id = ANY(%s) FOR UPDATE", ([one.id for one in whoms],))
        running = [pool.submit(bazar, *words, *JSON) for bazar, words in tries]
        until_waiting(people, len(tries))
        holder.rollback()
        return [future.result() for future in running]


def outcomes(done: list[Done]) -> list[tuple[int, str]]:
    return sorted((one.code, one.error["code"] if one.code else "") for one in done)


# -- superusers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "state", "pending"),
    [
        (Plan.PLUS, UserState.ACTIVE, None),
        (Plan.PREMIUM, UserState.SUSPENDED, None),
        (Plan.PREMIUM, UserState.ACTIVE, Pending.DELETE),
    ],
)
def test_last_active_superuser_on_premium_is_not_deleted(
    realm: Realm, plan: Plan, state: UserState, pending: Pending | None
) -> None:
    plus_deletes(realm)
    last = realm.people.superuser()
    realm.people.user(superuser=True, plan=plan, state=state, pending=pending)
    bazar = realm.as_user(realm.people.user(superuser=True, plan=Plan.PLUS))
    realm.attack(bazar, *delete(last), ends=LAST)
    realm.attack(bazar, *delete(last), "--dry-run", ends=LAST)
    realm.attack(bazar, *suspend(last), ends=LAST)
    realm.attack(bazar, *suspend(last), "--dry-run", ends=LAST)


def test_last_superuser_does_not_delete_themselves(realm: Realm) -> None:
    last = realm.people.superuser()
    realm.attack(realm.as_user(last), *delete(last), ends=(5, "access.oneself"))


def test_of_two_superusers_who_delete_each_other_one_wins(realm: Realm) -> None:
    ada, bob = realm.people.superuser(), realm.people.superuser()
    tries = ((realm.as_user(ada), delete(bob)), (realm.as_user(bob), delete(ada)))
    assert outcomes(run_concurrently(realm.people, (ada, bob), *tries)) == [(0, ""), (6, "access.changed")]
    assert len(realm.people.sql("SELECT 1 FROM bazar.users WHERE is_superuser AND pending IS NULL")) == 1


def test_of_the_last_two_superusers_one_stays_when_both_are_deleted_at_once(realm: Realm) -> None:
    plus_deletes(realm)
    ada, bob = realm.people.superuser(), realm.people.superuser()
    operators = [realm.as_user(realm.people.user(superuser=True, plan=Plan.PLUS)) for _ in range(2)]
    tries = ((operators[0], delete(ada)), (operators[1], delete(bob)))
    assert outcomes(run_concurrently(realm.people, (ada, bob), *tries)) == [(0, ""), LAST]
    assert len(realm.people.sql("SELECT 1 FROM bazar.users WHERE plan = 'premium' AND pending IS NULL")) == 1


# -- owners -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["nobody", "an admin", "a suspended owner", "an owner being created"])
def test_last_active_owner_is_not_deleted(realm: Realm, other: str) -> None:
    org = realm.people.org()
    last = realm.people.user({org: Role.OWNER})
    state = UserState.SUSPENDED if other == "a suspended owner" else UserState.ACTIVE
    pending = Pending.CREATE if other == "an owner being created" else None
    if other != "nobody":
        role = Role.ADMIN if other == "an admin" else Role.OWNER
        realm.people.user({org: role}, state=state, pending=pending)
    bazar = realm.as_user(realm.people.superuser())
    realm.attack(bazar, *delete(last), ends=(6, "users.last_owner"))
    realm.attack(bazar, *suspend(last), ends=(6, "users.last_owner"))


# -- rights that go while a command runs --------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE bazar.users SET state = 'suspended' WHERE id = %(id)s",
        "UPDATE bazar.users SET pending = 'delete' WHERE id = %(id)s",
        "UPDATE bazar.users SET plan = 'free' WHERE id = %(id)s",
        "UPDATE bazar.memberships SET role = 'member' WHERE user_id = %(id)s",
        "DELETE FROM bazar.memberships WHERE user_id = %(id)s",
        "DELETE FROM bazar.users WHERE id = %(id)s",
    ],
)
@pytest.mark.parametrize("verb", ["update", "delete"])
def test_operator_who_loses_a_right_before_the_write_writes_nothing(
    as_user: AsUser, people: People, world: World, verb: str, change: str
) -> None:
    me = people.user({world.acme: Role.ADMIN}, plan=Plan.PREMIUM)
    words = delete(world.member) if verb == "delete" else ("users", "update", world.member.email, "--name", "Pwned")
    assert lost_meanwhile(people, as_user(me), me, change, words) == (6, "access.changed")
    assert (people.row(world.member) or {})["name"] == "Mia"
    assert people.events(world.member.id) == []


def test_superuser_who_is_demoted_before_the_write_writes_nothing(
    as_user: AsUser, people: People, world: World
) -> None:
    me = people.superuser()
    people.identity(world.alone)
    demote = "UPDATE bazar.users SET is_superuser = false WHERE id = %(id)s"
    assert lost_meanwhile(people, as_user(me), me, demote, delete(world.alone)) == (6, "access.changed")
    assert people.row(world.alone) is not None
    assert len(people.identities(world.alone.email)) == 1


@pytest.mark.spread
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE bazar.memberships SET role = 'admin' WHERE user_id = %(id)s",
        "UPDATE bazar.users SET is_superuser = false WHERE id = %(id)s",
        "UPDATE bazar.users SET pending = 'email' WHERE id = %(id)s",
        "DELETE FROM bazar.organizations WHERE slug = %(other)s",
        "UPDATE bazar.users SET plan = 'plus' WHERE id = %(id)s",
    ],
    ids=["owner to admin", "superuser to owner", "address in change", "another organization", "premium to plus"],
)
@pytest.mark.parametrize("org", ["of the operator", "also of the member"])
def test_operator_whose_other_rights_change_can_continue(realm: Realm, change: str, org: str) -> None:
    """With the rights of now the same is allowed, so that nobody runs it again."""
    realm.people.sql("INSERT INTO bazar.plan_permissions VALUES ('plus', 'users:update')")
    acme, other = realm.people.org(), realm.people.org()
    me = realm.people.user({acme: Role.OWNER, other: Role.OWNER}, plan=Plan.PREMIUM, superuser="superuser" in change)
    roles = {acme: Role.MEMBER} if org == "of the operator" else {acme: Role.MEMBER, other: Role.MEMBER}
    member = realm.people.user(roles)
    words = ("users", "update", member.email, "--name", "Grace")
    done = changed_meanwhile(realm.people, realm.as_user(me), me, change, words, other=other.slug).ok()
    assert done.json["name"] == "Grace"
    [event] = realm.people.events(member.id)
    assert (event["outcome"], event["operator_id"]) == ("done", me.id)


def test_denial_with_the_present_rights_names_the_reason(as_user: AsUser, people: People, world: World) -> None:
    me = people.user({world.acme: Role.ADMIN}, plan=Plan.PREMIUM)
    words = ("users", "update", world.member.email, "--name", "Pwned")
    change = "UPDATE bazar.users SET plan = 'free' WHERE id = %(id)s"
    error = changed_meanwhile(people, as_user(me), me, change, words).error
    assert error["message"].startswith("your rights changed while the command ran, and nothing was written: ")
    assert "needs users:update, which your plan Free does not have" in error["message"]
    assert (error["details"]["refusal"], error["details"]["plans_with_it"]) == ("access.plan", ["premium"])


def lost_meanwhile(people: People, bazar: Bazar, me: Someone, change: str, words: tuple[str, ...]) -> tuple[int, str]:
    """Run a command whose operator loses a right meanwhile; return how it fails."""
    done = changed_meanwhile(people, bazar, me, change, words)
    return done.code, done.error["code"]


def changed_meanwhile(
    people: People, bazar: Bazar, me: Someone, change: str, words: tuple[str, ...], **values: object
) -> Done:
    """Run a command that passes the gate before `change` is committed, and writes after."""
    bazar("users", "me").ok()
    with psycopg.connect(people.target.database_url.reveal()) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SELECT 1 FROM bazar.users WHERE id = %s FOR UPDATE", (me.id,))
        other.execute(change.encode(), {"id": me.id, **values})
        running = pool.submit(bazar, *words, *JSON)
        until_waiting(people, 1)
        other.commit()
        return running.result()


def test_permission_taken_from_a_plan_is_gone_at_once(realm: Realm) -> None:
    bazar = realm.as_user(realm.people.user())
    bazar("users", "list").ok()
    realm.people.sql("DELETE FROM bazar.plan_permissions WHERE plan = 'free' AND permission = 'users:read'")
    done = realm.attack(bazar, "users", "list", ends=(5, "access.plan"))
    assert done.error["details"]["plans_with_it"] == ["plus", "premium"]
    assert bazar("plans", "check", "users:read").code == 9
    bazar("users", "me").ok()
