"""Refreshing a stored session while everything else happens: one request, and the session is never lost."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bazar_cli.adapters.config.sessions import Sessions
from bazar_cli.devstack.auth.keys import AuthKeys
from bazar_cli.domain.target import Target
from tests.cli.auth.support import let_it_end_soon, session_file, sign_in, stored_session
from tests.support import keyrings
from tests.support.auth_proxy import held_wire
from tests.support.auth_service import environment_of, running_auth_service
from tests.support.cli import Bazar, Done
from tests.support.parallel_commands import holders, running
from tests.support.people import OLD_PASSWORD, People, Someone
from tests.support.tokens import REFRESH, Wire, wire_to
from tests.support.waiting import poll

ME = ("users", "me", "-o", "ids")
MANY = 12


@pytest.fixture
def member(people: People) -> Someone:
    """A user known to both systems."""
    return people.known_user()


@pytest.fixture
def wire(target: Target) -> Generator[Wire]:
    """The way to this worker's Auth service."""
    with wire_to(target) as lent:
        yield lent


@pytest.fixture
def bazar(tmp_path: Path, wire: Wire, member: Someone) -> Bazar:
    """`bazar` with a stored session that ends in half a minute, all keys cached."""
    return signed_in(Bazar(tmp_path / "home").on(wire.target), member)


def signed_in(bazar: Bazar, someone: Someone) -> Bazar:
    sign_in(bazar, someone).ok()
    bazar(*ME).ok()
    let_it_end_soon(bazar)
    return bazar


def lock_file(bazar: Bazar) -> Path:
    """What processes lock while they change the one session."""
    return session_file(bazar).with_suffix(".lock")


def refresh_tokens(people: People, someone: Someone) -> dict[str, bool]:
    """The refresh tokens of a user's one session, and whether each is used up."""
    rows = people.sql("SELECT token, revoked FROM auth.refresh_tokens WHERE user_id = %s ORDER BY id", str(someone.id))
    return {row["token"]: row["revoked"] for row in rows}


def lives(bazar: Bazar, someone: Someone) -> bool:
    """Whether the stored session still serves, and can be renewed."""
    return bazar(*ME).ok().out == f"{someone.id}\n" and bazar("auth", "refresh", "-o", "ids").code == 0


def all_at_once(bazar: Bazar, wire: Wire, commands: Sequence[Sequence[str]], stdin: str = "") -> list[Done]:
    """Run commands of which every one has read the old session before the first may renew it."""
    with ExitStack() as busy:
        busy.enter_context(Sessions.of(wire.target, bazar.environment()).lock())
        with running(bazar, commands, stdin) as started:
            poll(lambda: holders(lock_file(bazar)) == len(commands) + 1)
            busy.close()
            return [command.result() for command in started]


def outcomes(ended: list[Done]) -> set[tuple[int, str, str]]:
    return {(done.code, done.out, done.err) for done in ended}


# -- at the same moment ------------------------------------------------------------------------------------------


def test_many_commands_renew_once(bazar: Bazar, wire: Wire, member: Someone) -> None:
    before = stored_session(bazar)
    ended = all_at_once(bazar, wire, [ME] * MANY)
    assert outcomes(ended) == {(0, f"{member.id}\n", "")}
    assert wire.requests.count(REFRESH) == 1
    assert stored_session(bazar)["refresh_token"] != before["refresh_token"]
    assert lives(bazar, member)


def test_commands_renew_once_though_refresh_tokens_do_not_rotate(
    bazar: Bazar, wire: Wire, member: Someone, auth_keys: AuthKeys, target: Target
) -> None:
    settings = environment_of(auth_keys, target.database_url.reveal())
    settings["GOTRUE_SECURITY_REFRESH_TOKEN_ROTATION_ENABLED"] = "false"
    before = stored_session(bazar)
    with running_auth_service(settings) as url:
        wire.upstream = url
        ended = all_at_once(bazar, wire, [ME] * 5)
    assert outcomes(ended) == {(0, f"{member.id}\n", "")}
    assert stored_session(bazar)["refresh_token"] == before["refresh_token"]
    assert wire.requests.count(REFRESH) == 1


@pytest.mark.long
def test_two_hundred_processes_renew_once(bazar: Bazar, wire: Wire, member: Someone) -> None:
    let_it_end_soon(bazar, -1)
    processes = [bazar.start(*ME) for _ in range(200)]
    ended = {(*process.communicate(), process.returncode) for process in processes}
    assert ended == {(f"{member.id}\n".encode(), b"", 0)}
    assert wire.requests.count(REFRESH) == 1
    assert lives(bazar, member)


def test_profiles_do_not_wait_for_each_other(tmp_path: Path, wire: Wire, member: Someone) -> None:
    bazar = Bazar(tmp_path / "home").on(wire.target)
    for name in ("one", "two"):
        bazar("config", "profiles", "add", name).ok()
        sign_in(bazar, member, "--profile", name).ok()
    with ExitStack() as busy:
        one = Sessions("one", wire.target.supabase_url, bazar.environment())
        busy.enter_context(one.lock())
        with running(bazar, [("auth", "refresh", "-o", "ids", "--profile", "one")]) as (waiting,):
            poll(lambda: holders(Path(one.where).with_suffix(".lock")) == 2)
            assert bazar("auth", "refresh", "-o", "ids", "--profile", "two").ok().out == f"{member.id}\n"
            assert bazar("auth", "logout", "-o", "json", "--profile", "two").ok().json["ended_at_supabase"] is True
            assert not waiting.done()
            busy.close()
    assert waiting.result().ok().out == f"{member.id}\n"


# -- the refresher is killed -------------------------------------------------------------------------------------


@pytest.mark.parametrize("arrives", [False, True], ids=["before Auth answered", "after Auth rotated"])
def test_others_go_on_when_the_refresher_is_killed(
    tmp_path: Path, target: Target, people: People, member: Someone, arrives: bool
) -> None:
    with held_wire(target, "POST", "/token?grant_type=refresh", arrives=arrives) as wire:
        bazar = signed_in(Bazar(tmp_path / "home").on(wire.target), member)
        stored = stored_session(bazar)
        with bazar.start(*ME) as refresher:
            assert wire.held.wait(60)
            # Stopped, it cannot see that its request times out: it is alive and holds the lock.
            refresher.send_signal(signal.SIGSTOP)
            try:
                assert refresh_tokens(people, member)[stored["refresh_token"]] is arrives
                with running(bazar, [ME] * (MANY - 1)) as commands:
                    poll(lambda: holders(lock_file(bazar)) == MANY)
                    refresher.send_signal(signal.SIGKILL)
                    ended = [command.result() for command in commands]
            finally:
                refresher.kill()  # whatever failed: stopped it would never end
            assert refresher.wait() == -signal.SIGKILL
        assert outcomes(ended) == {(0, f"{member.id}\n", "")}
        assert wire.requests.count(REFRESH) == 2
        assert lives(bazar, member)


def test_session_whose_answers_were_lost_again_and_again_is_renewed_a_day_later(
    bazar: Bazar, wire: Wire, people: People, member: Someone
) -> None:
    stored = session_file(bazar).read_text()
    wire.lost.add(REFRESH)
    for _ in range(2):
        assert bazar("auth", "refresh", "-o", "json").error["code"] == "supabase.unavailable"
    assert session_file(bazar).read_text() == stored
    used, active = refresh_tokens(people, member)
    # Long after the reuse interval the stored token still is the parent of the active one.
    people.sql("UPDATE auth.refresh_tokens SET updated_at = now() - interval '1 day' WHERE token = %s", used)
    wire.lost.clear()
    bazar("auth", "refresh").ok()
    assert (json.loads(stored)["refresh_token"], stored_session(bazar)["refresh_token"]) == (used, active)
    assert lives(bazar, member)


# -- Auth fails --------------------------------------------------------------------------------------------------

FAILURES: dict[str, tuple[int, bytes] | None] = {
    "500": (500, b'{"code": "unexpected_failure", "message": "Database error"}'),
    "429": (429, b'{"code": "over_request_rate_limit", "message": "Request rate limit reached"}'),
    "409": (409, b'{"code": "conflict", "message": "Too many concurrent token refresh requests"}'),
    "503 of a gateway": (503, b"<html>no upstream</html>"),
    "403 of a gateway": (403, b"<html>blocked</html>"),
    "a page": (200, b"<html>maintenance</html>"),
    "no session": (200, b'{"user": null}'),
    "dropped": None,
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES.keys())
def test_session_outlives_an_auth_service_that_fails(
    bazar: Bazar, wire: Wire, member: Someone, failure: tuple[int, bytes] | None
) -> None:
    wire.answers[REFRESH] = failure
    assert bazar(*ME).ok().out == f"{member.id}\n"  # half a minute is enough for a read
    let_it_end_soon(bazar, -1)
    stored = session_file(bazar).read_text()
    failed = bazar("users", "me", "-o", "json")
    assert (failed.code, failed.out) == (7, "")
    assert failed.error["code"] == (
        "supabase.rate_limited" if failure and failure[0] == 429 else "supabase.unavailable"
    )
    assert session_file(bazar).read_text() == stored
    wire.answers.clear()
    assert lives(bazar, member)


# -- a refresh, and another change of the session at once ----------------------------------------------------------


def test_logout_waits_for_a_refresh_and_ends_the_new_session(
    bazar: Bazar, wire: Wire, people: People, member: Someone
) -> None:
    go, lock = wire.hold(REFRESH), lock_file(bazar)
    with running(bazar, [ME]) as (me,):
        poll(lambda: wire.requests.count(REFRESH) == 1)
        with running(bazar, [("auth", "logout", "-o", "json")]) as (logout,):
            poll(lambda: holders(lock) == 2)
            go.set()
    assert me.result().ok().out == f"{member.id}\n"
    assert logout.result().ok().json == {"was_signed_in": True, "ended_at_supabase": True, "everywhere": False}
    assert not list((bazar.home / "config").glob("secrets/session-*.json"))
    assert refresh_tokens(people, member) == {}
    assert bazar(*ME).code == 4


def test_password_is_changed_while_others_refresh(bazar: Bazar, wire: Wire, people: People, member: Someone) -> None:
    change = ("auth", "password", "--password-stdin", "--quiet")
    *others, changed = all_at_once(bazar, wire, [ME] * 5 + [change], stdin="a-new-password")
    assert outcomes(others) == {(0, f"{member.id}\n", "")}
    assert outcomes([changed]) == {(0, "", "")}
    assert wire.requests.count(REFRESH) == 1
    assert people.signs_in(member.email, "a-new-password")
    assert lives(bazar, member)


def test_sign_in_during_a_refresh_wins(bazar: Bazar, wire: Wire, people: People, member: Someone) -> None:
    other, go = people.known_user(), wire.hold(REFRESH)
    with running(bazar, [ME]) as (me,):
        poll(lambda: wire.requests.count(REFRESH) == 1)
        login = bazar.start("auth", "login", "--email", other.email, "--password-stdin", stdin=subprocess.PIPE)
        assert login.stdin is not None
        login.stdin.write(f"{OLD_PASSWORD}\n".encode())
        login.stdin.close()
        poll(lambda: holders(lock_file(bazar)) == 2)
        go.set()
    assert (me.result().ok().out, login.wait()) == (f"{member.id}\n", 0)
    assert lives(bazar, other)
    for stream in (login.stdout, login.stderr):
        assert stream is not None
        stream.close()


MEANWHILE: dict[str, tuple[Callable[[Path, str], Any], int, str]] = {
    "somebody else signed in": (lambda file, other: file.write_text(other), 0, ""),
    "signed out": (lambda file, _other: file.unlink(), 4, "auth.not_signed_in"),
    "truncated": (lambda file, _other: os.truncate(file, 40), 4, "auth.session_unreadable"),
    "filled with no text": (
        lambda file, _other: file.write_text(json.dumps({**json.loads(file.read_text()), "access_token": 5})),
        4,
        "auth.session_unreadable",
    ),
    "emptied": (lambda file, _other: os.truncate(file, 0), 4, "auth.session_unreadable"),
    "opened to others": (lambda file, _other: file.chmod(0o644), 4, "auth.session_unreadable"),
}


@pytest.mark.parametrize(("change", "code", "error"), MEANWHILE.values(), ids=MEANWHILE.keys())
def test_session_that_changes_while_a_command_waits(
    bazar: Bazar, wire: Wire, people: People, change: Callable[[Path, str], Any], code: int, error: str
) -> None:
    other = people.known_user()
    elsewhere = signed_in(replace(bazar, home=bazar.home / "elsewhere"), other)
    with ExitStack() as busy:
        busy.enter_context(Sessions.of(wire.target, bazar.environment()).lock())
        with running(bazar, [("users", "me", "-o", "json")]) as (me,):
            poll(lambda: holders(lock_file(bazar)) == 2)
            change(session_file(bazar), session_file(elsewhere).read_text())
            busy.close()
    done = me.result()
    assert done.code == code
    assert (done.error["code"] == error and done.error["hint"]) if code else done.json["id"] == str(other.id)
    assert REFRESH not in wire.requests


# -- the store fails ---------------------------------------------------------------------------------------------


def on_a_full_disk() -> None:
    """Let the process that starts write no byte to any file; root too."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def test_session_survives_a_refresh_that_could_not_be_stored(bazar: Bazar, people: People, member: Someone) -> None:
    let_it_end_soon(bazar, -1)
    stored = session_file(bazar).read_text()
    process = bazar.start("users", "me", "-o", "json", preexec_fn=on_a_full_disk)
    _, told = process.communicate()
    assert (process.returncode, json.loads(told)["error"]["code"]) == (7, "files.no_room")
    assert session_file(bazar).read_text() == stored
    assert refresh_tokens(people, member)[json.loads(stored)["refresh_token"]] is True
    assert lives(bazar, member)


def test_sign_in_that_cannot_be_stored_leaves_no_session_at_supabase(
    tmp_path: Path, target: Target, people: People, member: Someone
) -> None:
    bazar = Bazar(tmp_path / "home").on(target)
    words = ("auth", "login", "--email", member.email, "--password-stdin", "-o", "json")
    process = bazar.start(*words, stdin=subprocess.PIPE, preexec_fn=on_a_full_disk)
    _, told = process.communicate(f"{OLD_PASSWORD}\n".encode())
    assert (process.returncode, json.loads(told)["error"]["code"]) == (7, "files.no_room")
    assert people.sql("SELECT 1 FROM auth.sessions WHERE user_id = %s", member.id) == []


def test_folder_that_was_made_read_only_is_left_read_only(bazar: Bazar, member: Someone) -> None:
    folder, stored = session_file(bazar).parent, session_file(bazar).read_text()
    folder.chmod(0o500)
    done = bazar("auth", "refresh", "-o", "json")
    assert (done.code, done.error["code"]) == (2, "files.unwritable")
    assert f"chmod u+w {folder}" in done.error["hint"]
    assert (folder.stat().st_mode & 0o777, session_file(bazar).read_text()) == (0o500, stored)
    folder.chmod(0o700)
    assert lives(bazar, member)


def test_folder_that_is_a_link(bazar: Bazar, wire: Wire) -> None:
    folder = session_file(bazar).parent
    folder.rename(folder.with_name("kept"))
    folder.symlink_to(folder.with_name("kept"))
    let_it_end_soon(bazar, -1)
    done = bazar("users", "me", "-o", "json")
    assert (done.code, done.error["code"]) == (2, "files.folder_not_ours")
    assert REFRESH not in wire.requests


# -- the keyring fails -------------------------------------------------------------------------------------------


@pytest.fixture
def with_keyring(bazar: Bazar, member: Someone, tmp_path: Path) -> Bazar:
    """`bazar` with the session in a keyring."""
    places = {"BAZAR_CONFIG_DIR": "", "XDG_CONFIG_HOME": str(tmp_path / "xdg"), "HOME": str(tmp_path)}
    chosen = {"PYTHON_KEYRING_BACKEND": keyrings.NAME, keyrings.FILE: str(tmp_path / "keyring.json")}
    kept = bazar.having(**places, **chosen)
    assert sign_in(kept, member).ok().json["stored_in"] == "keyring"
    return kept


def test_session_survives_a_keyring_that_fails_after_auth_rotated(
    with_keyring: Bazar, people: People, member: Someone
) -> None:
    failed = with_keyring.having(**{keyrings.REFUSES: "set"})("auth", "refresh", "-o", "json")
    assert (failed.code, failed.error["code"]) == (7, "keyring.unavailable")
    assert True in refresh_tokens(people, member).values()
    assert lives(with_keyring, member)


@pytest.mark.parametrize(
    ("refuses", "words"),
    [("get", ME), ("get", ("auth", "logout")), ("get", ("auth", "status")), ("delete", ("auth", "logout"))],
    ids=["get, read", "get, logout", "get, status", "delete, logout"],
)
def test_keyring_that_refuses_loses_nothing(
    with_keyring: Bazar, member: Someone, refuses: str, words: tuple[str, ...]
) -> None:
    failed = with_keyring.having(**{keyrings.REFUSES: refuses}, BAZAR_OUTPUT="json")(*words[:2])
    assert (failed.code, failed.out, failed.error["code"]) == (7, "", "keyring.unavailable")
    assert lives(with_keyring, member)


def test_sign_in_that_a_keyring_refuses_shows_no_secret(with_keyring: Bazar, people: People) -> None:
    other = people.known_user()
    failed = sign_in(with_keyring.having(**{keyrings.REFUSES: "set"}), other, "--debug")
    assert (failed.code, "keyring.unavailable" in failed.err) == (7, True)
    assert "refresh_token" not in failed.err
    assert people.sql("SELECT 1 FROM auth.sessions WHERE user_id = %s", other.id) == []
