"""`bazar auth login`."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from bazar_cli.domain.entities import UserState
from tests.cli.auth.support import Terminal, session_file, sign_in, stored_session
from tests.support.cli import Bazar
from tests.support.people import OLD_PASSWORD, People, Someone

pytestmark = pytest.mark.live


@pytest.mark.parametrize("words", [(), ("--debug",)], ids=["plain", "debug"])
def test_session_is_kept_privately_and_nothing_secret_is_shown(
    signed_out: Bazar, member: Someone, words: tuple[str, ...]
) -> None:
    done = sign_in(signed_out, member, *words).ok()
    file = Path(done.json["stored_in"])
    assert (done.json["user_id"], done.json["email"]) == (str(member.id), member.email)
    assert file == session_file(signed_out)
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    stored = stored_session(signed_out)
    hidden = (OLD_PASSWORD, stored["access_token"], stored["refresh_token"], signed_out.environ["SUPABASE_KEY"])
    for secret in hidden:
        assert secret not in done.out + done.err
    assert signed_out("users", "me", "-o", "ids").ok().out == f"{member.id}\n"


def test_wrong_password_and_unknown_user_read_the_same(signed_out: Bazar, member: Someone) -> None:
    wrong = sign_in(signed_out, member, "--output", "table", password="wrong-password")
    unknown = sign_in(
        signed_out, Someone(uuid4(), f"{uuid4().hex}@example.com"), "--output", "table", password="wrong-password"
    )
    assert (wrong.code, wrong.out) == (unknown.code, unknown.out) == (4, "")
    assert wrong.err == unknown.err
    assert not (signed_out.home / "config").exists()


def test_banned_by_supabase(signed_out: Bazar, people: People, member: Someone) -> None:
    people.ban(member)
    done = sign_in(signed_out, member)
    assert (done.code, done.error["code"]) == (4, "auth.user_banned")


def test_address_that_is_not_confirmed(signed_out: Bazar, people: People) -> None:
    someone = people.user()
    people.identity(someone, confirmed=False)
    done = sign_in(signed_out, someone)
    assert (done.code, done.error["code"]) == (4, "auth.email_not_confirmed")


def test_suspended_operator_is_out_while_the_token_is_valid(signed_out: Bazar, people: People, member: Someone) -> None:
    sign_in(signed_out, member).ok()
    people.sql("UPDATE bazar.users SET state = %s WHERE id = %s", UserState.SUSPENDED.value, member.id)
    done = signed_out("users", "list", "-o", "json")
    assert (done.code, done.out, done.error["code"]) == (5, "", "access.suspended")
    assert signed_out("auth", "token").code == 5
    assert signed_out("auth", "status", "-o", "json").ok().json["state"] == "suspended"


def test_terminal_asks_and_does_not_show_the_password(signed_out: Bazar, member: Someone) -> None:
    with Terminal(signed_out, "auth", "login") as terminal:
        terminal.answer(f"Email for {signed_out.environ['SUPABASE_URL']}: ", member.email)
        terminal.answer("Password: ", OLD_PASSWORD)
        assert terminal.end() == 0
    assert member.email in terminal.seen
    assert OLD_PASSWORD not in terminal.seen
    assert stored_session(signed_out)["user_id"] == str(member.id)


@pytest.mark.parametrize("words", [(), ("--quiet",)])
def test_the_auth_service_is_named_before_the_password_is_typed(signed_out: Bazar, words: tuple[str, ...]) -> None:
    with Terminal(signed_out, "auth", "login", "--email", "a@example.com", *words) as terminal:
        terminal.interrupt_at("Password: ")
        terminal.end()
    assert (
        f"is sent to Supabase Auth at {signed_out.environ['SUPABASE_URL']}" in terminal.seen.partition("Password: ")[0]
    )


def test_the_auth_service_is_named_before_a_password_is_read(signed_out: Bazar, admin: Bazar) -> None:
    named = f"is sent to Supabase Auth at {signed_out.environ['SUPABASE_URL']}"
    for bazar, words in (
        (signed_out, ("auth", "login", "--email", "a@example.com", "--password-stdin")),
        (admin, ("auth", "password", "--password-stdin")),
        (admin, ("users", "create", "a@example.com", "--password-stdin")),
    ):
        done = bazar(*words)
        assert (done.code, named in done.err.splitlines()[0]) == (2, True), done.err


def test_interrupt_at_the_password_prompt_starts_no_session(signed_out: Bazar) -> None:
    with Terminal(signed_out, "auth", "login", "--email", "a@example.com") as terminal:
        terminal.interrupt_at("Password: ")
        assert terminal.end() == -signal.SIGINT
    assert "Traceback" not in terminal.seen
    assert not (signed_out.home / "config").exists()


def test_no_input_opens_no_prompt(signed_out: Bazar) -> None:
    with Terminal(signed_out, "auth", "login", "--email", "a@example.com", "--no-input") as terminal:
        assert terminal.end() == 2
    assert "--password-stdin" in terminal.seen


@pytest.mark.parametrize(("words", "option"), [([], "--email"), (["--email", "a@example.com"], "--password-stdin")])
def test_without_terminal_the_missing_option_is_named(signed_out: Bazar, words: list[str], option: str) -> None:
    done = signed_out("auth", "login", *words, "-o", "json")
    assert (done.code, done.out, done.error["code"]) == (2, "", "input.needed")
    assert option in done.error["hint"]


BAD = {
    "nothing": (b"", "input.empty"),
    "an empty line": (b"\r\nsecond", "input.empty"),
    "no text": (b"\xff\xfe\n", "input.encoding"),
    "too long": (b"x" * 70_000, "input.too_long"),
    "a NUL": (b"secret\0word\n", "users.password_invalid"),
}


@pytest.mark.parametrize(("given", "code"), BAD.values(), ids=BAD.keys())
def test_no_password_on_standard_input(signed_out: Bazar, given: bytes, code: str) -> None:
    words = ("--email", "a@example.com", "--password-stdin", "-o", "json")
    done = signed_out("auth", "login", *words, stdin=given)
    assert (done.code, done.error["code"]) == (2, code)
    assert done.error["hint"]


def test_address_in_any_case_and_the_first_line_is_the_password(signed_out: Bazar, member: Someone) -> None:
    words = ("--email", member.email.upper(), "--password-stdin", "-o", "json")
    done = signed_out("auth", "login", *words, stdin=f"{OLD_PASSWORD}\r\nanother line\n").ok()
    assert done.json["email"] == member.email


def test_no_address(signed_out: Bazar) -> None:
    done = signed_out("auth", "login", "--email", "nonsense", "--password-stdin", "-o", "json", stdin="secret-word")
    assert (done.code, done.error["code"]) == (2, "users.email_invalid")


def test_refused_sign_in_leaves_the_session_before(
    signed_out: Bazar, people: People, member: Someone, root: Someone
) -> None:
    sign_in(signed_out, member).ok()
    assert sign_in(signed_out, root, password="wrong-password").code == 4
    assert signed_out("users", "me", "-o", "ids").ok().out == f"{member.id}\n"
    sign_in(signed_out, root).ok()
    assert signed_out("users", "me", "-o", "ids").ok().out == f"{root.id}\n"


def test_identity_of_no_user_is_warned(signed_out: Bazar, people: People, unique_email: Callable[[str], str]) -> None:
    stranger = Someone(uuid4(), unique_email("stranger"))
    people.identity(stranger)
    done = sign_in(signed_out, stranger).ok()
    assert (done.json["plan"], done.json["state"], done.json["organizations"]) == (None, None, [])
    assert f"{stranger.email} is not a user of this Bazar" in done.err
    denied = signed_out("users", "list", "-o", "json")
    assert (denied.code, denied.error["code"]) == (5, "access.unknown_operator")


def test_session_is_kept_though_postgres_is_down(signed_out: Bazar, member: Someone) -> None:
    down = signed_out.having(DATABASE_URL="postgresql://bazar:database-word@127.0.0.1:1/bazar")
    done = sign_in(down, member).ok()
    assert "plan and role are unknown" in done.err
    assert "database-word" not in done.err
    assert signed_out("users", "me").code == 0


def test_folder_that_cannot_hold_a_session(signed_out: Bazar, member: Someone) -> None:
    signed_out.folder("")
    (signed_out.home / "config").write_text("in the way")
    done = sign_in(signed_out, member)
    assert (done.code, done.out, done.error["code"]) == (2, "", "files.folder_not_ours")


@pytest.mark.parametrize("suffix", [".json", ".lock"])
def test_file_that_cannot_be_written(signed_out: Bazar, member: Someone, suffix: str) -> None:
    sign_in(signed_out, member).ok()
    obstacle = session_file(signed_out).with_suffix(suffix)
    obstacle.unlink()
    obstacle.mkdir()
    done = sign_in(signed_out, member)
    assert (done.code, done.out, done.error["code"]) == (2, "", "files.unwritable")
