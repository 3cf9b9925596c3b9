"""A command that signs in with SUPERUSER_PASSWORD leaves no session behind, however it ends."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

import pytest

from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.cli.auth.support import sign_in
from tests.support.auth_proxy import held_wire
from tests.support.cli import Bazar
from tests.support.people import OLD_PASSWORD, People, Someone
from tests.support.tokens import Wire, wire_to

LOGOUT = "POST /auth/v1/logout?scope=local"


@pytest.fixture
def bazar(tmp_path: Path, target: Target, root: Someone) -> Bazar:
    """`bazar` with the superuser's credentials in the environment, and nobody to ask."""
    return Bazar(tmp_path / "home").on(target).having(SUPERUSER_EMAIL=root.email, SUPERUSER_PASSWORD=OLD_PASSWORD)


@pytest.fixture
def wire(target: Target) -> Generator[Wire]:
    with wire_to(target) as lent:
        yield lent


def sessions(people: People, someone: Someone) -> int:
    return len(people.sql("SELECT id FROM auth.sessions WHERE user_id = %s", someone.id))


COMMANDS: dict[str, tuple[tuple[str, ...], int]] = {
    "reads": (("users", "list"), 0),
    "writes": (("orgs", "create", "An Organization"), 0),
    "asks the service key": (("users", "create", "new-one@example.com", "--dry-run"), 0),
    "says who": (("auth", "status"), 0),
    "looks at itself": (("users", "sessions", "list", "ROOT"), 0),
    "finds nothing": (("users", "get", "nobody@example.com"), 3),
    "is refused": (("plans", "revoke", "premium", "db:read"), 6),
    "is denied": (("users", "delete", "ROOT"), 5),
    "is used wrongly": (("users", "list", "--cursor", "x"), 2),
    "ends them all": (("auth", "logout", "--everywhere"), 0),
    "changes the password": (("auth", "password", "--password-stdin"), 0),
}


@pytest.mark.parametrize(("words", "code"), COMMANDS.values(), ids=COMMANDS.keys())
def test_session_of_one_command_ends_with_it(
    bazar: Bazar, people: People, root: Someone, words: tuple[str, ...], code: int
) -> None:
    done = bazar(*(root.email if word == "ROOT" else word for word in words), stdin="another-password\n")
    assert (done.code, sessions(people, root)) == (code, 0), done


def test_token_that_is_handed_out_still_works(bazar: Bazar, people: People, root: Someone) -> None:
    token = bazar("auth", "token").ok().out.strip()
    bazar("users", "list").ok()
    bazar.having(BAZAR_TOKEN=token)("orgs", "create", "Of A Token").ok()
    assert sessions(people, root) == 1


def test_stored_sign_in_still_works(bazar: Bazar, people: People, root: Someone) -> None:
    sign_in(bazar, root).ok()
    bazar("orgs", "create", "Of A Session").ok()
    assert sessions(people, root) == 1


def test_first_superuser(bazar: Bazar, people: People, fresh_database: Callable[..., str], target: Target) -> None:
    someone = people.user()
    people.identity(someone)
    new = bazar.on(replace(target, database_url=Secret(fresh_database())))
    new = new.having(SUPERUSER_EMAIL=someone.email)
    new("db", "migrate", "--unprotected").ok()
    name = new("db", "status", "-o", "json").ok().json
    assert name["current"]
    assert sessions(people, someone) == 0
    new("db", "reset", "--dry-run").ok()
    assert sessions(people, someone) == 0


@pytest.mark.parametrize("failure", [(500, b"{}"), (401, b"{}"), (429, b"<html>"), None], ids=str)
def test_logout_that_fails_changes_nothing(
    bazar: Bazar, wire: Wire, root: Someone, failure: tuple[int, bytes] | None
) -> None:
    wire.answers[LOGOUT] = failure
    wired = bazar.on(wire.target)
    done = wired("users", "me", "-o", "ids")
    assert (done.code, done.out, done.err) == (0, f"{root.id}\n", "")
    missing = wired("users", "get", "nobody@example.com", "-o", "json")
    assert (missing.code, missing.error["code"], missing.err.count("\n")) == (3, "users.not_found", 1)
    assert "could not be ended" in wired("users", "me", "--debug").err
    assert wire.requests.count(LOGOUT) >= 3


def test_interrupted_command(bazar: Bazar, people: People, root: Someone, target: Target) -> None:
    with held_wire(target, "POST", "/admin/users", arrives=False) as wire:
        words = ("users", "create", "interrupted@example.com")
        with bazar.on(wire.target).start(*words) as process:
            assert wire.held.wait(60)
            assert sessions(people, root) == 1
            process.send_signal(signal.SIGINT)
            wire.release.set()
            process.communicate()
        assert process.returncode == -signal.SIGINT
    assert sessions(people, root) == 0
