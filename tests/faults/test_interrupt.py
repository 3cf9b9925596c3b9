"""Ctrl-C, SIGTERM and SIGHUP in every phase of `users create`; Ctrl-C in those of `users delete`, `doctor --fix`
and at a prompt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from bazar_cli.adapters.postgres.users.changes import LEASE_SECONDS
from bazar_cli.domain.entities import Pending
from bazar_cli.domain.target import Target
from bazar_cli.domain.waits import OF_A_COMMAND
from tests.cli.auth.support import Terminal
from tests.support.auth_proxy import HeldWire, held_wire
from tests.support.cli import Bazar
from tests.support.people import OLD_PASSWORD, People, Someone
from tests.support.waiting import poll, sooner_than, until_turned_away

Email = Callable[[str], str]

CREATE = ("POST", "/admin/users")
ENDING = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name)


@contextmanager
def held(admin: Bazar, wire: HeldWire, *words: str) -> Generator[subprocess.Popen[bytes]]:
    """Start a command and wait until its request is held."""
    with admin.on(wire.target).start(*words) as process:
        assert wire.held.wait(60)
        yield process


@contextmanager
def locked(target: Target, email: str) -> Generator[None]:
    """Hold the row of a user, as another command does in the middle of its transaction."""
    with psycopg.connect(target.database_url.reveal()) as connection:
        assert connection.execute("SELECT 1 FROM bazar.users WHERE email = %s FOR UPDATE", [email]).fetchone()
        yield


def waits_for_a_row(people: People) -> bool:
    """Whether a command stands before a row that another session holds."""
    waiting = (
        "SELECT 1 FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'bazar' AND wait_event_type = 'Lock'"
    )
    return people.sql(waiting) != []


def nothing_of(people: People, email: str) -> bool:
    """Whether neither system has heard of an address."""
    rows = people.sql("SELECT 1 FROM bazar.users WHERE email = %s", email)
    events = people.sql("SELECT 1 FROM bazar.audit_events WHERE after ->> 'email' = %s", email)
    return (rows, people.identities(email), events) == ([], [], [])


def is_complete(people: People, email: str) -> bool:
    """Whether both systems have the user, by one id, with one event and nobody's lease."""
    (row,) = people.sql("SELECT id, pending, lease_owner FROM bazar.users WHERE email = %s", email)
    (identity,) = people.identities(email)
    (event,) = people.events(row["id"])
    assert (event["use_case"], event["outcome"]) == ("users.create", "done")
    return (row["id"], row["pending"], row["lease_owner"]) == (identity["id"], None, None)


# -- before anything is begun -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/.well-known/jwks.json", "/user"], ids=["before the gate", "at the gate"])
def test_before_the_gate_has_opened_it_ends_at_once(
    admin: Bazar, target: Target, people: People, unique_email: Email, path: str
) -> None:
    email = unique_email("early")
    with held_wire(target, "GET", path, arrives=False) as wire, held(admin, wire, "users", "create", email) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait() == -signal.SIGINT
        assert process.communicate() == (b"", b"")
    assert nothing_of(people, email)


def test_before_the_row_is_committed_it_ends_at_once(
    admin: Bazar, target: Target, people: People, unique_email: Email
) -> None:
    email = unique_email("uncommitted")
    operator = admin("users", "me", "-o", "json").ok().json["email"]
    with locked(target, operator), admin.start("users", "create", email) as process:
        poll(lambda: waits_for_a_row(people))
        with sooner_than(OF_A_COMMAND.row):
            process.send_signal(signal.SIGINT)
            assert process.wait() == -signal.SIGINT
        assert process.communicate() == (b"", b"")
    assert nothing_of(people, email)
    admin("users", "create", email).ok()
    assert is_complete(people, email)


def test_waiting_for_another_command_is_no_step_in_hand(admin: Bazar, people: People, unique_email: Email) -> None:
    email = unique_email("leased")
    someone = people.user(email=email)
    people.sql(
        "UPDATE bazar.users SET pending = 'create', lease_owner = gen_random_uuid(), lease_until = now() + '1 h'"
        " WHERE id = %s",
        someone.id,
    )
    with admin.start("users", "create", email) as process:
        until_turned_away(people)
        with sooner_than(OF_A_COMMAND.lease):
            process.send_signal(signal.SIGINT)
            assert process.wait() == -signal.SIGINT
    # `doctor --fix` of a later test would wait for this user.
    people.sql("DELETE FROM bazar.users WHERE id = %s", someone.id)


# -- while a step is in hand --------------------------------------------------------------------------------------


@ENDING
def test_while_supabase_creates_the_step_is_finished(
    admin: Bazar, target: Target, people: People, unique_email: Email, number: signal.Signals
) -> None:
    email = unique_email("in-hand")
    with held_wire(target, *CREATE, arrives=True) as wire, held(admin, wire, "users", "create", email) as process:
        process.send_signal(number)
        wire.release.set()
        assert process.wait() == -number
    assert is_complete(people, email)


def test_before_supabase_has_acted_running_again_finishes(
    admin: Bazar, target: Target, people: People, unique_email: Email
) -> None:
    email = unique_email("not-arrived")
    with held_wire(target, *CREATE, arrives=False) as wire, held(admin, wire, "users", "create", email) as process:
        process.send_signal(signal.SIGINT)
        wire.release.set()
        assert process.wait() == -signal.SIGINT
    assert people.identities(email) == []
    # The lease was given back: nobody has to wait for it.
    admin("users", "create", email).ok()
    assert is_complete(people, email)


def test_between_supabase_and_the_row_the_row_is_settled(
    admin: Bazar, target: Target, people: People, unique_email: Email
) -> None:
    email = unique_email("unsettled")
    with held_wire(target, *CREATE, arrives=True) as wire, held(admin, wire, "users", "create", email) as process:
        with locked(target, email):
            wire.release.set()
            poll(lambda: waits_for_a_row(people))
            process.send_signal(signal.SIGINT)
        assert process.wait() == -signal.SIGINT
    assert is_complete(people, email)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_a_second_signal_ends_at_once(
    admin: Bazar, target: Target, people: People, unique_email: Email, number: signal.Signals
) -> None:
    email = unique_email("impatient")
    with held_wire(target, *CREATE, arrives=True) as wire, held(admin, wire, "users", "create", email) as process:
        # Signals that arrive together count once, so they are sent until the command has ended.
        while process.poll() is None:
            process.send_signal(number)
            time.sleep(0.02)
        assert process.returncode == -number
        assert not wire.release.is_set()
    # Of a lease that was not given back the rest is waited for, as after kill -9.
    people.sql("UPDATE bazar.users SET lease_owner = NULL, lease_until = NULL WHERE email = %s", email)
    admin("users", "create", email).ok()
    assert is_complete(people, email)


def fill(pipe: int) -> int:
    """Fill a pipe, so that the next writer has to wait; return how many bytes it took."""
    took = 0
    os.set_blocking(pipe, False)
    with suppress(BlockingIOError):
        while True:
            took += os.write(pipe, b"x" * 512)
    os.set_blocking(pipe, True)
    return took


def test_a_generated_password_is_shown_before_the_command_ends(
    admin: Bazar, target: Target, people: People, unique_email: Email
) -> None:
    email = unique_email("shown")
    reader, writer = os.pipe()
    filled = fill(writer)
    with admin.start("users", "create", email, "--generate-password", "-o", "json", stdout=writer) as process:
        os.close(writer)
        poll(lambda: people.sql("SELECT 1 FROM bazar.users WHERE email = %s AND pending IS NULL", email) != [])
        process.send_signal(signal.SIGINT)
        with os.fdopen(reader, "rb") as stdout:
            shown = stdout.read()[filled:]
        assert process.wait() == -signal.SIGINT
    assert people.signs_in(email, json.loads(shown)["password"])


# -- users delete, and the doctor -----------------------------------------------------------------------------

WAITS = pytest.mark.parametrize(
    ("method", "path", "arrives"),
    [
        ("GET", "/user", False),
        ("GET", "/admin/users", True),
        ("DELETE", "/admin/users", False),
        ("DELETE", "/admin/users", True),
    ],
    ids=["at the gate", "at the look-up", "before Supabase deleted", "after Supabase deleted"],
)


@pytest.fixture
def leaving(people: People) -> Someone:
    """A user in both systems."""
    made = people.user()
    people.identity(made)
    return made


def deletion(someone: Someone) -> tuple[str, ...]:
    return ("users", "delete", someone.email, "--confirm", someone.email)


def is_gone(people: People, someone: Someone, events: int = 1) -> bool:
    """Whether neither system has the user, and the audit log has this number of events."""
    assert [(e["use_case"], e["outcome"]) for e in people.events(someone.id)] == [("users.delete", "done")] * events
    return (people.row(someone), people.identities(someone.email)) == (None, [])


@WAITS
def test_next_delete_finishes_an_interrupted_one(
    admin: Bazar, target: Target, people: People, leaving: Someone, method: str, path: str, arrives: bool
) -> None:
    before = people.row(leaving)
    with held_wire(target, method, path, arrives=arrives) as wire, held(admin, wire, *deletion(leaving)) as process:
        process.send_signal(signal.SIGINT)
        if path == "/user":
            # Nothing is in hand: it does not wait for the answer.
            assert process.wait() == -signal.SIGINT
            assert people.row(leaving) == before
        wire.release.set()
        assert process.wait() == -signal.SIGINT
    if method == "DELETE" and arrives:
        # The step in hand was finished.
        assert is_gone(people, leaving)
        return
    assert people.signs_in(leaving.email, OLD_PASSWORD)
    # The lease was given back: nobody has to wait for it.
    with sooner_than(LEASE_SECONDS):
        admin(*deletion(leaving)).ok()
    assert is_gone(people, leaving)


def test_delete_before_the_intent_is_committed_ends_at_once(
    admin: Bazar, target: Target, people: People, leaving: Someone
) -> None:
    before = people.row(leaving)
    with locked(target, leaving.email), admin.start(*deletion(leaving)) as process:
        poll(lambda: waits_for_a_row(people))
        with sooner_than(OF_A_COMMAND.row):
            process.send_signal(signal.SIGINT)
            assert process.wait() == -signal.SIGINT
    assert people.row(leaving) == before
    assert people.events(leaving.id) == []
    admin(*deletion(leaving)).ok()
    assert is_gone(people, leaving)


def test_delete_between_supabase_and_the_row_removes_the_row(
    admin: Bazar, target: Target, people: People, leaving: Someone
) -> None:
    delete = ("DELETE", "/admin/users")
    with held_wire(target, *delete, arrives=True) as wire, held(admin, wire, *deletion(leaving)) as process:
        with locked(target, leaving.email):
            wire.release.set()
            poll(lambda: waits_for_a_row(people))
            process.send_signal(signal.SIGINT)
        assert process.wait() == -signal.SIGINT
    assert is_gone(people, leaving)


FIX = ("doctor", "--fix", "--yes", "-o", "json")


@pytest.fixture
def half_gone(people: People, leaving: Someone) -> Someone:
    """A user whose deletion a dead command began; nobody else has a pending change."""
    people.sql("DELETE FROM bazar.users WHERE pending IS NOT NULL")
    people.sql("UPDATE bazar.users SET pending = 'delete' WHERE id = %s", leaving.id)
    return leaving


@WAITS
def test_next_doctor_finishes_an_interrupted_one(
    admin: Bazar, target: Target, people: People, half_gone: Someone, method: str, path: str, arrives: bool
) -> None:
    with held_wire(target, method, path, arrives=arrives) as wire, held(admin, wire, *FIX) as process:
        process.send_signal(signal.SIGINT)
        if path == "/user":
            assert process.wait() == -signal.SIGINT
        wire.release.set()
        assert process.wait() == -signal.SIGINT
    finished = method == "DELETE" and arrives
    assert (people.row(half_gone) is None) == finished
    if not finished:
        assert people.signs_in(half_gone.email, OLD_PASSWORD)
        with sooner_than(LEASE_SECONDS):
            admin(*FIX)
    assert is_gone(people, half_gone, events=0)


@pytest.mark.parametrize("arrives", [False, True], ids=["before Supabase created", "after Supabase created"])
def test_the_doctor_finishes_the_create_in_hand_or_leaves_it_to_the_next_run(
    admin: Bazar, target: Target, people: People, unique_email: Email, arrives: bool
) -> None:
    email = unique_email("half-there")
    people.sql("DELETE FROM bazar.users WHERE pending IS NOT NULL")
    someone = people.user(email=email, pending=Pending.CREATE)
    with held_wire(target, *CREATE, arrives=arrives) as wire, held(admin, wire, *FIX) as process:
        process.send_signal(signal.SIGINT)
        wire.release.set()
        assert process.wait() == -signal.SIGINT
    row = people.row(someone)
    assert row is not None
    assert (row["pending"], row["lease_owner"]) == (None if arrives else "create", None)
    with sooner_than(LEASE_SECONDS):
        admin(*FIX)
    assert (people.row(someone) or {})["pending"] is None
    assert [identity["id"] for identity in people.identities(email)] == [someone.id]


# -- at a prompt --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", ["Email", "Password"])
def test_at_a_prompt_nothing_is_done_and_the_terminal_echoes_again(
    tmp_path: Path, target: Target, question: str
) -> None:
    bazar = Bazar(tmp_path / "home").on(target)
    words = () if question == "Email" else ("--email", "ada@example.com")
    with Terminal(bazar, "auth", "login", *words) as terminal:
        terminal.interrupt_at(question)
        assert terminal.end() == -signal.SIGINT
        assert terminal.echoes()
    assert "Traceback" not in terminal.seen
    assert not (bazar.home / "config").exists()
