"""Killed with -9 in the middle: running the same command again ends in the wanted state, once."""

from __future__ import annotations

import signal
import subprocess
import time
import uuid
from collections.abc import Callable

import bcrypt
import psycopg
import pytest

from bazar_cli.adapters.postgres.users.changes import LEASE_SECONDS
from bazar_cli.domain.entities import Role
from bazar_cli.domain.target import Target
from tests.support.auth_proxy import held_wire
from tests.support.cli import Bazar
from tests.support.people import OLD_PASSWORD, People, Someone, an_address
from tests.support.waiting import poll

# The doctor mends whatever a killed command left: on another target workers share the database.
pytestmark = [pytest.mark.live, pytest.mark.xdist_group("kill")]

Email = Callable[[str], str]
BLOCKED_BY = "SELECT pid FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
DOCTOR = ("doctor", "--fix", "--yes", "-o", "json")


def killed(
    admin: Bazar, target: Target, method: str, path: str, words: tuple[str, ...], *, arrives: bool, stdin: str = ""
) -> None:
    """Start a command, kill it with -9 while it waits for Supabase's answer."""
    with (
        held_wire(target, method, path, arrives=arrives) as wire,
        admin.on(wire.target).start(*words, stdin=subprocess.PIPE) as process,
    ):
        assert process.stdin is not None
        process.stdin.write(stdin.encode())
        process.stdin.close()
        process.stdin = None
        assert wire.held.wait(60)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("arrives", [False, True], ids=["before Supabase acted", "after Supabase acted"])
def test_create_is_finished_by_running_it_again(
    admin: Bazar, target: Target, people: People, unique_email: Email, arrives: bool
) -> None:
    email = unique_email("killed")
    words = ("users", "create", email, "--name", "Ada", "--generate-password", "-o", "json")
    killed(admin, target, "POST", "/admin/users", words, arrives=arrives)
    (row,) = people.sql("SELECT id, pending FROM bazar.users WHERE email = %s", email)
    assert row["pending"] == "create"
    assert len(people.identities(email)) == (1 if arrives else 0)
    people.lease_runs_out(email)
    user = admin(*words).ok().json
    assert (user["id"], user["pending"]) == (str(row["id"]), None)
    (identity,) = people.identities(email)
    assert identity["id"] == row["id"]
    assert people.signs_in(email, user["password"])
    assert [e["use_case"] for e in people.events(row["id"])] == ["users.create"]


@pytest.mark.parametrize("arrives", [False, True], ids=["before Supabase acted", "after Supabase acted"])
def test_delete_is_finished_by_running_it_again(admin: Bazar, target: Target, people: People, arrives: bool) -> None:
    someone = people.user()
    people.identity(someone)
    words = ("users", "delete", someone.email, "--confirm", someone.email)
    killed(admin, target, "DELETE", "/admin/users", words, arrives=arrives)
    assert (people.row(someone) or {})["pending"] == "delete"
    people.lease_runs_out(someone)
    admin(*words).ok()
    assert people.row(someone) is None
    assert people.identities(someone.email) == []
    assert [e["use_case"] for e in people.events(someone.id)] == ["users.delete"]


@pytest.mark.parametrize(("arrives", "healer"), [(False, "doctor"), (True, "again")])
@pytest.mark.parametrize("path", ["/admin/users", "/invite"])
def test_invitation_is_finished(
    admin: Bazar, target: Target, people: People, unique_email: Email, path: str, arrives: bool, healer: str
) -> None:
    email = unique_email("killed")
    words = ("users", "create", email, "--invite", "-o", "json")
    killed(admin, target, "POST", path, words, arrives=arrives)
    (row,) = people.sql("SELECT id, pending FROM bazar.users WHERE email = %s", email)
    assert row["pending"] == "invite"
    people.lease_runs_out(email)
    admin(*(words if healer == "again" else DOCTOR))
    (after,) = people.sql("SELECT id, pending FROM bazar.users WHERE email = %s", email)
    (identity,) = people.identities(email)
    assert (after["id"], after["pending"], identity["id"]) == (row["id"], None, row["id"])
    assert identity["invited_at"]
    assert identity.get("email_confirmed_at") is None
    assert [(e["use_case"], e["outcome"]) for e in people.events(row["id"])] == [("users.create", "done")]


@pytest.mark.parametrize(("arrives", "healer"), [(False, "doctor"), (True, "again")])
def test_adoption_is_finished(admin: Bazar, target: Target, people: People, arrives: bool, healer: str) -> None:
    someone = Someone(uuid.uuid4(), an_address("killed"))
    people.identity(someone)
    words = ("users", "adopt", someone.email, "-o", "json")
    killed(admin, target, "PUT", f"/admin/users/{someone.id}", words, arrives=arrives)
    assert (people.row(someone) or {})["pending"] == "create"
    people.lease_runs_out(someone)
    admin(*(words if healer == "again" else DOCTOR))
    row = people.row(someone) or {}
    assert (row["pending"], row["origin"]) == (None, "adopted")
    (identity,) = people.identities(someone.email)
    assert identity["app_metadata"]["bazar"]["origin"] == "adopted"
    assert people.signs_in(someone.email, OLD_PASSWORD)
    assert [(e["use_case"], e["outcome"]) for e in people.events(someone.id)] == [("users.adopt", "done")]


@pytest.mark.parametrize("arrives", [False, True], ids=["before Supabase acted", "after Supabase acted"])
def test_hash_of_the_run_that_reached_supabase_is_kept(
    admin: Bazar, target: Target, people: People, unique_email: Email, arrives: bool
) -> None:
    email = unique_email("hashed")
    first, second = (bcrypt.hashpw(password, bcrypt.gensalt(4)).decode() for password in (b"the first", b"the second"))
    words = ("users", "create", email, "--password-hash-stdin", "-o", "json")
    killed(admin, target, "POST", "/admin/users", words, arrives=arrives, stdin=first)
    people.lease_runs_out(email)
    again = admin(*words, stdin=second).ok()
    assert people.signs_in(email, "the first") == arrives
    assert people.signs_in(email, "the second") == (not arrives)
    assert ("keeps the password of an earlier run" in again.err) == arrives


@pytest.mark.long  # a lease lasts 20 s, and no switch of the product shortens it
@pytest.mark.parametrize("verb", ["create", "delete"])
def test_the_next_run_waits_for_the_lease_of_the_one_that_was_killed(
    admin: Bazar, target: Target, people: People, unique_email: Email, verb: str
) -> None:
    email = unique_email("lived-out")
    create = ("users", "create", email, "-o", "ids")
    words = create if verb == "create" else ("users", "delete", email, "--confirm", email)
    if verb == "delete":
        admin(*create).ok()
    killed(admin, target, "POST" if verb == "create" else "DELETE", "/admin/users", words, arrives=True)
    (held,) = people.sql("SELECT id, lease_until - clock_timestamp() AS left FROM bazar.users WHERE email = %s", email)
    left = held["left"].total_seconds()
    assert LEASE_SECONDS / 2 < left <= LEASE_SECONDS
    began = time.monotonic()
    admin(*words).ok()
    assert left < time.monotonic() - began < left + LEASE_SECONDS / 2
    rows = people.sql("SELECT id, pending FROM bazar.users WHERE email = %s", email)
    assert rows == ([{"id": held["id"], "pending": None}] if verb == "create" else [])
    assert [identity["id"] for identity in people.identities(email)] == [row["id"] for row in rows]


@pytest.mark.parametrize("arrives", [False, True], ids=["before Supabase acted", "after Supabase acted"])
@pytest.mark.parametrize("kind", ["suspend", "restore", "email"])
def test_a_change_is_finished_by_running_it_again(
    admin: Bazar, target: Target, people: People, unique_email: Email, kind: str, arrives: bool
) -> None:
    someone, email = people.user(), unique_email("moved")
    people.identity(someone)
    suspend = ("users", "suspend", someone.email, "--reason", "left", "--yes")
    words = {
        "suspend": suspend,
        "restore": ("users", "restore", someone.email),
        "email": ("users", "update", someone.email, "--email", email),
    }[kind]
    if kind == "restore":
        admin(*suspend).ok()
    before = len(people.events(someone.id))
    killed(admin, target, "PUT", "/admin/users", words, arrives=arrives)
    assert (people.row(someone) or {})["pending"] == kind
    people.lease_runs_out(someone)
    admin(*words).ok()
    row = people.row(someone) or {}
    assert (row["pending"], row["state"]) == (None, "suspended" if kind == "suspend" else "active")
    assert people.signs_in(email if kind == "email" else someone.email, OLD_PASSWORD) == (kind != "suspend")
    assert len(people.events(someone.id)) == before + 1


def test_an_organization_is_deleted_whole_or_not_at_all(admin: Bazar, people: People) -> None:
    """One transaction: killed while it deletes memberships, it has deleted nothing."""
    org = people.org()
    member = people.user({org: Role.MEMBER})
    words = ("orgs", "delete", org.slug, "--confirm", org.slug)
    with psycopg.connect(people.target.database_url.reveal()) as holder:
        holder.execute("SELECT 1 FROM bazar.memberships WHERE user_id = %s FOR UPDATE", (member.id,))
        with admin.start(*words) as process:
            poll(lambda: people.sql(BLOCKED_BY, holder.info.backend_pid))
            ((session,),) = (row.values() for row in people.sql(BLOCKED_BY, holder.info.backend_pid))
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
        holder.rollback()
    # Its session goes on to the end of the statement, and finds then that nobody is there to commit it.
    poll(lambda: not people.sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", session))
    assert len(people.sql("SELECT 1 FROM bazar.memberships WHERE organization_id = %s", org.id)) == 1
    assert people.events(org.id) == []
    admin(*words).ok()
    assert people.sql("SELECT 1 FROM bazar.organizations WHERE id = %s", org.id) == []
    assert people.row(member) is not None
    assert [(e["use_case"], e["outcome"]) for e in people.events(org.id)] == [("orgs.delete", "done")]
