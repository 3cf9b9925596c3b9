"""Plans: who may give and take them, who stays on Premium, and permissions that go while a command runs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from bazar_cli.domain.entities import Plan, Role
from tests.cli.escalations.conftest import JSON, Attack, Realm, World
from tests.cli.escalations.test_last_of_their_kind import outcomes, run_concurrently
from tests.support.cli import Bazar
from tests.support.people import People, Someone
from tests.support.waiting import until_waiting

AsUser = Callable[[Someone], Bazar]
PLATFORM, PLAN, LAST = (5, "access.platform"), (5, "access.plan"), (6, "users.last_superuser")


def assign(someone: Someone, plan: str = "premium") -> tuple[str, ...]:
    return ("plans", "assign", someone.email, plan, "--yes")


@pytest.mark.parametrize("role", [Role.OWNER, Role.ADMIN])
def test_no_role_in_an_organization_gives_or_takes_plans(
    as_user: AsUser, people: People, world: World, attack: Attack, role: Role
) -> None:
    me = people.user({world.acme: role}, plan=Plan.PREMIUM)
    bazar = as_user(me)
    attack(bazar, *assign(world.member), ends=PLATFORM)
    attack(bazar, *assign(me, "free"), ends=PLATFORM)
    attack(bazar, *assign(world.member), "--dry-run", ends=PLATFORM)
    # Whether there is such a user is told to nobody who may not ask.
    attack(bazar, "plans", "assign", "nobody@example.com", "plus", ends=PLATFORM)
    attack(bazar, "plans", "grant", "free", "plans:manage", ends=PLATFORM)
    attack(bazar, "plans", "revoke", "plus", "files:execute", "--yes", ends=PLATFORM)


def test_a_superuser_on_free_does_not_assign_themselves_premium(
    as_user: AsUser, people: People, attack: Attack
) -> None:
    me = people.user(superuser=True)
    bazar = as_user(me)
    attack(bazar, *assign(me), ends=PLAN)
    attack(bazar, "plans", "grant", "free", "plans:assign", ends=PLAN)


def test_a_permission_on_free_is_no_superusers_flag(realm: Realm) -> None:
    ruler, free = realm.people.superuser(), realm.people.user()
    admin, bazar = realm.as_user(ruler), realm.as_user(free)
    for permission in ("plans:manage", "plans:assign"):
        admin("plans", "grant", "free", permission).ok()
    realm.attack(bazar, *assign(free), ends=PLATFORM)
    realm.attack(bazar, "plans", "grant", "free", "db:reset", ends=PLATFORM)
    realm.attack(bazar, "plans", "revoke", "plus", "files:execute", "--yes", ends=PLATFORM)


def test_last_superuser_stays_on_premium(realm: Realm) -> None:
    last = realm.people.superuser()
    bazar = realm.as_user(last)
    for words in (assign(last, "free"), (*assign(last, "plus"), "--dry-run"), assign(last, "free")[:-1]):
        realm.attack(bazar, *words, ends=LAST)


def test_of_two_superusers_who_move_each_other_off_premium_one_wins(realm: Realm) -> None:
    ada, bob = realm.people.superuser(), realm.people.superuser()
    tries = ((realm.as_user(ada), assign(bob, "free")), (realm.as_user(bob), assign(ada, "free")))
    [won, lost] = outcomes(run_concurrently(realm.people, (ada, bob), *tries))
    assert (won, lost[0]) == ((0, ""), 6)
    assert lost[1] in {"access.changed", "users.last_superuser"}
    assert len(realm.people.sql("SELECT 1 FROM bazar.users WHERE is_superuser AND plan = 'premium'")) == 1
    assert len(realm.people.sql("SELECT 1 FROM bazar.audit_events WHERE use_case = 'plans.assign'")) == 1


def test_of_the_last_two_superusers_one_stays_when_both_are_moved_or_deleted_at_once(realm: Realm) -> None:
    for permission in ("plans:assign", "users:delete"):
        realm.people.sql("INSERT INTO bazar.plan_permissions VALUES ('plus', %s)", permission)
    ada, bob = realm.people.superuser(), realm.people.superuser()
    operators = [realm.as_user(realm.people.user(superuser=True, plan=Plan.PLUS)) for _ in range(2)]
    delete = ("users", "delete", bob.email, "--confirm", bob.email)
    tries = ((operators[0], assign(ada, "free")), (operators[1], delete))
    assert outcomes(run_concurrently(realm.people, (ada, bob), *tries)) == [(0, ""), LAST]
    ruling = "SELECT 1 FROM bazar.users WHERE is_superuser AND plan = 'premium' AND pending IS NULL"
    assert len(realm.people.sql(ruling)) == 1


@pytest.mark.parametrize("permission", ["users:update", "users:delete"])
def test_revoke_while_another_command_is_using_it(realm: Realm, permission: str) -> None:
    """The other command passed the gate, and writes nothing once the revoke is done."""
    org = realm.people.org()
    me, other = realm.people.user({org: Role.OWNER}, plan=Plan.PLUS), realm.people.user({org: Role.MEMBER})
    admin, bazar = realm.as_user(realm.people.superuser()), realm.as_user(me)
    realm.people.identity(other)
    admin("plans", "grant", "plus", permission).ok()
    words = ("users", "update", other.email, "--name", "Pwned")
    if permission == "users:delete":
        words = ("users", "delete", other.email, "--confirm", other.email)
    bazar("users", "me").ok()
    with psycopg.connect(realm.people.target.database_url.reveal()) as holder, ThreadPoolExecutor(1) as pool:
        holder.execute("SELECT 1 FROM bazar.users WHERE id = %s FOR UPDATE", (me.id,))
        running = pool.submit(bazar, *words, *JSON)
        until_waiting(realm.people, 1)
        admin("plans", "revoke", "plus", permission, "--yes").ok()
        holder.rollback()
        done = running.result()
    assert (done.code, done.error["code"]) == (6, "access.changed")
    assert (realm.people.row(other) or {})["name"] is None
    assert realm.people.events(other.id) == []
    assert len(realm.people.identities(other.email)) == 1
