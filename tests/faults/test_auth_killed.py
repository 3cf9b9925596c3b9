"""The Auth service alone is killed with -9, at rest and in the middle of a create and a delete.

Commands end with 7; when it is there again, running them again ends in the wanted state.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest

from bazar_cli.devstack.auth.keys import AuthKeys
from bazar_cli.domain.target import Target
from tests.support.auth_proxy import auth_proxy
from tests.support.auth_service import KillableAuth, environment_of
from tests.support.cli import Bazar, Done
from tests.support.people import OLD_PASSWORD, People, Someone
from tests.support.waiting import poll

Email = Callable[[str], str]
PASSWORD = "correct horse"


@pytest.fixture
def auth(auth_keys: AuthKeys, database_url: str) -> Generator[KillableAuth]:
    """An Auth service beside the worker's own, on the same database and with the same keys."""
    with KillableAuth(environment_of(auth_keys, database_url)) as service:
        yield service


@pytest.fixture
def served(embedded_target: Target, auth: KillableAuth) -> Target:
    """The worker's target by way of that service."""
    return replace(embedded_target, supabase_url=auth.url)


def create(bazar: Bazar, email: str) -> Done:
    return bazar("users", "create", email, "--password-stdin", "-o", "json", stdin=f"{PASSWORD}\n")


def delete(bazar: Bazar, email: str) -> Done:
    return bazar("users", "delete", email, "--confirm", email, "-o", "json")


def both_end_well(bazar: Bazar, people: People, email: str, someone: Someone) -> None:
    """Run both commands again: one user is whole, the other gone, each with one event."""
    created = create(bazar, email).ok().json
    delete(bazar, someone.email).ok()
    [identity] = people.identities(email)
    [row] = people.sql("SELECT id, pending, lease_owner FROM bazar.users WHERE email = %s", email)
    assert (str(row["id"]), row["pending"], row["lease_owner"]) == (created["id"], None, None)
    assert identity["id"] == row["id"]
    assert people.signs_in(email, PASSWORD)
    assert (people.row(someone), people.identities(someone.email)) == (None, [])
    for target_id, use_case in ((row["id"], "users.create"), (someone.id, "users.delete")):
        assert [(e["use_case"], e["outcome"]) for e in people.events(target_id)] == [(use_case, "done")]


@contextmanager
def no_identity_changes(people: People) -> Generator[None]:
    """Let every write to `auth.users` wait, as behind another session: reads go on."""
    with People(people.target) as other:
        other.sql("BEGIN")
        other.sql("LOCK TABLE auth.users IN EXCLUSIVE MODE")
        yield


def waiting_writes(people: People) -> int:
    """How many of the service's statements wait for that."""
    found = people.sql(
        "SELECT count(*) AS n FROM pg_locks WHERE relation = 'auth.users'::regclass AND NOT granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return int(found[0]["n"])


def test_at_rest(admin: Bazar, served: Target, auth: KillableAuth, people: People, unique_email: Email) -> None:
    bazar, email, someone = admin.on(served), unique_email("rest"), people.user()
    people.identity(someone)
    bazar("users", "me").ok()
    auth.kill()
    before = people.everything()
    for done in (create(bazar, email), delete(bazar, someone.email)):
        assert (done.code, done.error["code"]) == (7, "supabase.unavailable")
    assert people.everything() == before
    # What was verified once is read without Auth.
    bazar("users", "get", someone.email).ok()
    auth.start()
    both_end_well(bazar, people, email, someone)


def test_in_the_middle_of_a_write(
    admin: Bazar, served: Target, auth: KillableAuth, people: People, unique_email: Email
) -> None:
    bazar, email, someone = admin.on(served), unique_email("middle"), people.user()
    people.identity(someone)
    with ThreadPoolExecutor() as pool, no_identity_changes(people):
        running = [pool.submit(create, bazar, email), pool.submit(delete, bazar, someone.email)]
        poll(lambda: waiting_writes(people) == len(running))
        auth.kill()
        ended = [command.result() for command in running]
    assert [(d.code, d.error["code"]) for d in ended] == [
        (7, "users.create_unfinished"),
        (7, "users.delete_unfinished"),
    ]
    assert people.signs_in(someone.email, OLD_PASSWORD)
    auth.start()
    both_end_well(bazar, people, email, someone)


def test_after_it_acted(admin: Bazar, served: Target, auth: KillableAuth, people: People, unique_email: Email) -> None:
    email, someone = unique_email("acted"), people.user()
    people.identity(someone)
    with auth_proxy(served) as proxy, ThreadPoolExecutor() as pool:
        bazar = admin.on(proxy.target)
        running = [
            (pool.submit(create, bazar, email), proxy.hold("POST", "/admin/users", acts=True)),
            (pool.submit(delete, bazar, someone.email), proxy.hold("DELETE", f"/admin/users/{someone.id}", acts=True)),
        ]
        for _, hold in running:
            assert hold.held is not None
            assert hold.held.wait(60)
        auth.kill()
        for _, hold in running:
            hold.release.set()
        ended = [command.result() for command, _ in running]
    assert [(d.code, d.error["code"]) for d in ended] == [
        (7, "users.create_unfinished"),
        (7, "users.delete_unfinished"),
    ]
    assert (len(people.identities(email)), people.identities(someone.email)) == (1, [])
    auth.start()
    both_end_well(admin.on(served), people, email, someone)
