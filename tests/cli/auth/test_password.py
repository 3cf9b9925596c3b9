"""`bazar auth password`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.auth.support import Terminal, sign_in
from tests.support.cli import Bazar, Done
from tests.support.people import OLD_PASSWORD, People, Someone

pytestmark = pytest.mark.live

AsUser = Callable[[Someone], Bazar]
NEW = "A-new-passw0rd"


def change(bazar: Bazar, password: str, *words: str) -> Done:
    return bazar("auth", "password", "--password-stdin", "-o", "json", *words, stdin=password + "\n")


def test_new_password_ends_the_other_sessions(
    signed_out: Bazar, as_user: AsUser, people: People, member: Someone
) -> None:
    other = as_user(member)
    sign_in(signed_out, member).ok()
    done = change(signed_out, NEW, "--debug").ok()
    assert done.out == ""
    assert "your other sessions were ended" in done.err
    assert people.signs_in(member.email, NEW)
    assert not people.signs_in(member.email, OLD_PASSWORD)
    late = change(other, "An0ther-password")
    assert (late.code, late.error["code"]) == (4, "auth.session_revoked")
    signed_out("auth", "refresh").ok()
    (event,) = people.events(member.id)
    assert (event["use_case"], event["outcome"], event["operator_id"]) == ("auth.password", "done", member.id)
    assert NEW not in f"{event}{done.err}"


BAD = {
    "5 bytes": ("12345", "users.password_invalid", "5 bytes"),
    "73 bytes": ("é" * 36 + "x", "users.password_invalid", "73 bytes"),
    "a NUL": ("secret\0word", "users.password_invalid", "NUL character"),
    "the same": (OLD_PASSWORD, "auth.password_refused", "different from the old"),
    "none": ("", "input.empty", "no password"),
}


@pytest.mark.parametrize(("password", "code", "told"), BAD.values(), ids=BAD.keys())
def test_refused_password_changes_nothing(
    as_user: AsUser, people: People, member: Someone, password: str, code: str, told: str
) -> None:
    done = change(as_user(member), password)
    assert (done.code, done.out, done.error["code"]) == (2, "", code)
    assert told in done.error["message"]
    assert people.signs_in(member.email, OLD_PASSWORD)
    asked_supabase = code == "auth.password_refused"
    assert [e["outcome"] for e in people.events(member.id)] == (["done", "undone"] if asked_supabase else [])


# Another target may ask for more than bazar does.
SHORTEST = pytest.param("123456", id="6 bytes", marks=pytest.mark.embedded)


@pytest.mark.parametrize("password", [SHORTEST, pytest.param("Aa1!" + "é" * 34, id="72 bytes")])
def test_shortest_and_longest(as_user: AsUser, people: People, member: Someone, password: str) -> None:
    change(as_user(member), password).ok()
    assert people.signs_in(member.email, password)


def test_dry_run(as_user: AsUser, people: People, member: Someone) -> None:
    done = change(as_user(member), NEW, "--dry-run").ok()
    assert "nothing was written" in done.err
    assert people.signs_in(member.email, OLD_PASSWORD)
    assert people.events(member.id) == []


def test_terminal_asks_twice(as_user: AsUser, people: People, member: Someone) -> None:
    bazar = as_user(member)
    with Terminal(bazar, "auth", "password") as terminal:
        terminal.answer("New password: ", NEW)
        terminal.answer("New password again: ", NEW + "x")
        assert terminal.end() == 2
    assert "differ" in terminal.seen
    with Terminal(bazar, "auth", "password") as terminal:
        terminal.answer("New password: ", NEW)
        terminal.answer("New password again: ", NEW)
        assert terminal.end() == 0
    assert NEW not in terminal.seen
    assert people.signs_in(member.email, NEW)


def test_without_terminal_the_missing_option_is_named(as_user: AsUser, member: Someone) -> None:
    done = as_user(member)("auth", "password", "-o", "json")
    assert (done.code, done.error["code"]) == (2, "input.needed")
    assert "--password-stdin" in done.error["hint"]


def test_nobody(signed_out: Bazar) -> None:
    assert change(signed_out, NEW).code == 4
