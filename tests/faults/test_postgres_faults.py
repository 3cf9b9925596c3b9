"""Postgres refuses, or the backend of the command is killed, at each step of a change of both systems."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import psycopg
import pytest

from bazar_cli.domain.entities import Role, UserState
from bazar_cli.domain.target import Target
from tests.support.auth_proxy import AuthProxy, Fault
from tests.support.cli import Bazar, Done
from tests.support.people import OLD_PASSWORD, People, Someone
from tests.support.postgres import sibling
from tests.support.waiting import poll, until_waiting

Email = Callable[[str], str]
PASSWORD = "correct horse"
USER = r"/admin/users/[0-9a-f-]{36}"
_OURS = "FROM pg_stat_activity WHERE application_name = 'bazar' AND datname = current_database()"


def create(bazar: Bazar, email: str, *words: str) -> Done:
    return bazar("users", "create", email, *words, "--password-stdin", "-o", "json", stdin=f"{PASSWORD}\n")


def delete(bazar: Bazar, email: str) -> Done:
    return bazar("users", "delete", email, "--confirm", email, "-o", "json")


def kill_backends(people: People) -> None:
    """End every session of a `bazar` command on this database, as an administrator or a crash would."""
    assert people.sql(f"SELECT pg_terminate_backend(pid) {_OURS}") != []
    poll(lambda: people.sql(f"SELECT 1 {_OURS}") == [])


@contextmanager
def refusing(people: People) -> Generator[None]:
    """Let the database accept no new session; those that are there go on."""
    url = people.target.database_url.reveal()
    name = urlsplit(url).path[1:]
    with psycopg.connect(sibling(url, "postgres"), autocommit=True) as administrator:
        administrator.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false'.encode())
        try:
            yield
        finally:
            administrator.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true'.encode())


def while_postgres_goes(people: People, hold: Fault, command: Callable[[], Done], *, refuses: bool) -> Done:
    """Run a command whose backend is killed while it waits for Supabase; Postgres may refuse another session."""
    with ThreadPoolExecutor() as pool, ExitStack() as stack:
        running = pool.submit(command)
        assert hold.held is not None
        assert hold.held.wait(60)
        kill_backends(people)
        if refuses:
            stack.enter_context(refusing(people))
        hold.release.set()
        return running.result()


def finish(admin: Bazar, healer: str, again: Callable[[Bazar], Done]) -> None:
    """Run the same command again, or let the doctor finish it."""
    if healer == "again":
        again(admin).ok()
        return
    [fix] = [c for c in admin("doctor", "--fix", "--yes", "-o", "json").json["items"] if c["check"] == "fix"]
    assert "finished" in {row["note"].partition(".")[0] for row in fix["rows"]}


def is_whole(people: People, email: str) -> None:
    [row] = people.sql("SELECT id, pending, lease_owner FROM bazar.users WHERE email = %s", email)
    [identity] = people.identities(email)
    assert (row["id"], row["pending"], row["lease_owner"]) == (identity["id"], None, None)
    assert [e["outcome"] for e in people.events(row["id"])] == ["done"]


def is_gone(people: People, someone: Someone) -> None:
    assert people.row(someone) is None
    assert people.identities(someone.email) == []
    assert [e["outcome"] for e in people.events(someone.id)] == ["done"]


def test_refused_at_the_start(admin: Bazar, people: People, unique_email: Email) -> None:
    email, someone = unique_email("refused"), people.user()
    people.identity(someone)
    with refusing(people):
        first, second = create(admin, email), delete(admin, someone.email)
    assert [(d.code, d.error["code"]) for d in (first, second)] == [(6, "postgres.not_admitted")] * 2
    assert people.identities(email) == []
    assert people.signs_in(someone.email, OLD_PASSWORD)
    assert people.events(someone.id) == []
    create(admin, email).ok()
    is_whole(people, email)


def test_killed_before_the_row_is_committed(admin: Bazar, people: People, target: Target, unique_email: Email) -> None:
    email, org = unique_email("killed"), people.org()
    with ThreadPoolExecutor() as pool, People(target) as other:
        other.sql("BEGIN")
        other.sql("SELECT 1 FROM bazar.organizations WHERE id = %s FOR UPDATE", org.id)
        running = pool.submit(create, admin, email, "--org", org.slug)
        until_waiting(people, 1)
        kill_backends(people)
        other.sql("ROLLBACK")
        done = running.result()
    assert done.code == 7
    assert people.sql("SELECT 1 FROM bazar.users WHERE email = %s", email) == []
    assert people.identities(email) == []
    create(admin, email, "--org", org.slug).ok()
    is_whole(people, email)


@pytest.mark.parametrize(
    ("verb", "refuses", "healer"),
    [
        ("create --invite", False, "again"),
        ("create --invite", True, "doctor"),
        ("adopt", False, "again"),
        ("adopt", True, "again"),
    ],
)
def test_session_lost_while_supabase_invites_or_stamps(
    admin: Bazar,
    faulty: Bazar,
    proxy: AuthProxy,
    people: People,
    unique_email: Email,
    verb: str,
    refuses: bool,
    healer: str,
) -> None:
    email = unique_email("between")
    if verb == "adopt":
        people.identity(Someone(uuid.uuid4(), email))
    words = ("users", *verb.split(), email, "-o", "json")
    hold = proxy.hold(*(("PUT", USER) if verb == "adopt" else ("POST", "/invite")), acts=True)

    done = while_postgres_goes(people, hold, lambda: faulty(*words), refuses=refuses)

    assert done.code == (6 if refuses else 0)
    if refuses:
        [row] = people.sql("SELECT pending FROM bazar.users WHERE email = %s", email)
        assert row["pending"] == ("create" if verb == "adopt" else "invite")
        people.leases_run_out()
        finish(admin, healer, lambda bazar: bazar(*words))
    is_whole(people, email)
    mails = people.sql("SELECT 1 FROM bazar_auth.mails WHERE recipient = %s", email)
    assert len(mails) == (0 if verb == "adopt" else 1)


@pytest.mark.parametrize(
    ("acts", "refuses", "healer"),
    [
        pytest.param(False, False, "again", id="before Supabase created, killed"),
        pytest.param(False, True, "doctor", id="before Supabase created, killed and refusing"),
        pytest.param(True, False, None, id="after Supabase created, killed"),
        pytest.param(True, True, "again", id="after Supabase created, killed and refusing, again"),
        pytest.param(True, True, "doctor", id="after Supabase created, killed and refusing, doctor"),
    ],
)
def test_session_lost_while_supabase_creates(
    admin: Bazar,
    faulty: Bazar,
    proxy: AuthProxy,
    people: People,
    unique_email: Email,
    acts: bool,
    refuses: bool,
    healer: str | None,
) -> None:
    """Parameters: `healer` is None where Supabase has acted and Postgres takes a new session: it finishes by itself."""
    email = unique_email("between")
    hold = proxy.hold("POST", "/admin/users", acts=acts)
    done = while_postgres_goes(people, hold, lambda: create(faulty, email), refuses=refuses)
    assert done.code == (0 if healer is None else 6 if acts else 7)
    if healer is not None:
        [row] = people.sql("SELECT pending FROM bazar.users WHERE email = %s", email)
        assert row["pending"] == "create"
        people.leases_run_out()
        finish(admin, healer, lambda bazar: create(bazar, email))
    is_whole(people, email)
    assert people.signs_in(email, PASSWORD) == (acts or healer == "again")


def test_killed_before_the_intent_to_delete_is_committed(admin: Bazar, people: People, target: Target) -> None:
    someone = people.user()
    people.identity(someone)
    before = people.row(someone)
    with ThreadPoolExecutor() as pool, People(target) as other:
        other.sql("BEGIN")
        other.sql("SELECT 1 FROM bazar.users WHERE id = %s FOR UPDATE", someone.id)
        running = pool.submit(delete, admin, someone.email)
        until_waiting(people, 1)
        kill_backends(people)
        other.sql("ROLLBACK")
        done = running.result()
    assert done.code == 7
    assert people.row(someone) == before
    assert people.signs_in(someone.email, OLD_PASSWORD)
    assert people.events(someone.id) == []
    delete(admin, someone.email).ok()
    is_gone(people, someone)


@pytest.mark.parametrize(
    ("method", "acts", "refuses", "healer"),
    [
        pytest.param("GET", True, False, "again", id="before Supabase was asked to delete, killed"),
        pytest.param("GET", True, True, "doctor", id="before Supabase was asked to delete, killed and refusing"),
        pytest.param("DELETE", False, False, "doctor", id="before Supabase deleted, killed"),
        pytest.param("DELETE", False, True, "again", id="before Supabase deleted, killed and refusing"),
        pytest.param("DELETE", True, False, None, id="after Supabase deleted, killed"),
        pytest.param("DELETE", True, True, "again", id="after Supabase deleted, killed and refusing, again"),
        pytest.param("DELETE", True, True, "doctor", id="after Supabase deleted, killed and refusing, doctor"),
    ],
)
def test_session_lost_while_supabase_deletes(
    admin: Bazar,
    faulty: Bazar,
    proxy: AuthProxy,
    people: People,
    method: str,
    acts: bool,
    refuses: bool,
    healer: str | None,
) -> None:
    """Parameters: `healer` as above."""
    someone = people.user()
    people.identity(someone)
    hold = proxy.hold(method, USER, acts=acts)
    done = while_postgres_goes(people, hold, lambda: delete(faulty, someone.email), refuses=refuses)
    deleted = method == "DELETE" and acts
    assert done.code == (0 if healer is None else 6 if deleted else 7)
    if healer is not None:
        assert bool(people.identities(someone.email)) != deleted
        assert (people.row(someone) or {})["pending"] == "delete"
        people.leases_run_out()
        finish(admin, healer, lambda bazar: delete(bazar, someone.email))
    is_gone(people, someone)


@pytest.mark.parametrize("refuses", [False, True], ids=["killed", "killed and refusing"])
@pytest.mark.parametrize("kind", ["suspend", "restore", "email"])
def test_session_lost_while_supabase_changes(
    admin: Bazar, faulty: Bazar, proxy: AuthProxy, people: People, unique_email: Email, kind: str, refuses: bool
) -> None:
    someone = people.user(state=UserState.SUSPENDED if kind == "restore" else UserState.ACTIVE)
    people.identity(someone)
    email = unique_email("moved") if kind == "email" else someone.email
    words = {
        "suspend": ("suspend", someone.email, "--reason", "left", "--yes"),
        "restore": ("restore", someone.email),
        "email": ("update", someone.email, "--email", email),
    }[kind]
    hold = proxy.hold("PUT", USER, acts=True)
    done = while_postgres_goes(people, hold, lambda: faulty("users", *words), refuses=refuses)
    assert done.code == (6 if refuses else 0)
    if refuses:
        assert (people.row(someone) or {})["pending"] == kind
        people.leases_run_out()
        finish(admin, "doctor" if kind == "email" else "again", lambda bazar: bazar("users", *words))
    row = people.row(someone) or {}
    wanted = "suspended" if kind == "suspend" else "active"
    assert (row["email"], row["state"], row["pending"], row["lease_owner"]) == (email, wanted, None, None)
    assert people.signs_in(email, OLD_PASSWORD) == (kind != "suspend")
    assert [e["outcome"] for e in people.events(someone.id)] == ["done"]


@pytest.mark.parametrize("refuses", [False, True], ids=["killed", "killed and refusing"])
def test_session_lost_while_an_organization_is_deleted(
    admin: Bazar, people: People, target: Target, refuses: bool
) -> None:
    """One transaction: it is whole, or there is nothing of it."""
    org = people.org()
    people.user({org: Role.OWNER})
    words = ("orgs", "delete", org.slug, "--confirm", org.slug, "-o", "json")
    before = people.sql("SELECT * FROM bazar.memberships WHERE organization_id = %s", org.id)
    with ThreadPoolExecutor() as pool, People(target) as other, ExitStack() as stack:
        other.sql("BEGIN")
        other.sql("SELECT 1 FROM bazar.memberships WHERE organization_id = %s FOR UPDATE", org.id)
        running = pool.submit(admin, *words)
        until_waiting(people, 1)
        if refuses:
            stack.enter_context(refusing(people))
        kill_backends(people)
        done = running.result()
        other.sql("ROLLBACK")
    assert (done.code, done.error["code"]) == (7, "postgres.unavailable")
    assert people.sql("SELECT * FROM bazar.memberships WHERE organization_id = %s", org.id) == before
    assert people.events(org.id) == []
    admin(*words).ok()
    assert people.sql("SELECT 1 FROM bazar.organizations WHERE id = %s", org.id) == []
    assert [e["outcome"] for e in people.events(org.id)] == ["done"]


def test_refused_with_a_refusal_of_supabase(
    admin: Bazar, faulty: Bazar, proxy: AuthProxy, people: People, unique_email: Email
) -> None:
    """Supabase refuses and Postgres is away: the row stays pending, and the next run removes it."""
    email = unique_email("undo")
    taken = people.user()
    people.identity(Someone(taken.id, email))
    hold = proxy.hold("POST", "/admin/users", acts=False)
    hold.status = 422
    assert while_postgres_goes(people, hold, lambda: create(faulty, email), refuses=True).code == 6
    people.leases_run_out()
    done = create(admin, email)
    assert (done.code, done.error["code"]) == (6, "users.email_at_supabase")
    assert people.sql("SELECT 1 FROM bazar.users WHERE email = %s", email) == []


def test_a_read_meets_a_dead_session(admin: Bazar, people: People) -> None:
    with refusing(people):
        done = admin("users", "list", "-o", "json")
    assert (done.code, done.out, done.error["code"]) == (6, "", "postgres.not_admitted")
    assert done.error["hint"]
    admin("users", "list").ok()


def test_auth_faults_leave_no_session_of_postgres_behind(
    faulty: Bazar, proxy: AuthProxy, people: People, unique_email: Email
) -> None:
    proxy.add(Fault("POST", "/admin/users", 503))
    assert create(faulty, unique_email("left")).code == 7
    poll(lambda: people.sql(f"SELECT 1 {_OURS}") == [])
