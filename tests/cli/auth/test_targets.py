"""Which target a command speaks to, who it believes is asking, and what it says when a system is down."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bazar_cli.devstack.auth.keys import AuthKeys
from bazar_cli.domain.target import Target
from tests.cli.auth.support import sign_in
from tests.support.cli import Bazar, Done
from tests.support.people import OLD_PASSWORD, People, Someone
from tests.support.tokens import Signer, claims_of, unsigned, wire_to

pytestmark = pytest.mark.live

AsUser = Callable[[Someone], Bazar]
TARGET = ("SUPABASE_URL", "SUPABASE_KEY", "DATABASE_URL")
SHAPE = {"code", "message", "hint", "exit_code", "details", "request_id", "docs"}
JSON = ("-o", "json")
CLOSED = "http://127.0.0.1:1"


def failed(done: Done, exit_code: int, code: str) -> dict[str, Any]:
    """Check how a command failed, in the form that scripts read; return the error."""
    assert (done.code, done.out, done.error["code"]) == (exit_code, "", code), done
    assert done.error.keys() == SHAPE
    assert done.error["exit_code"] == exit_code
    assert len(done.err.strip().splitlines()) == 1
    return done.error


def env_file(path: Path, bazar: Bazar, **more: str) -> Path:
    """Write the target of `bazar` into an env file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {**{name: bazar.environ[name] for name in TARGET}, **more}
    path.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    return path


def shown_target(done: Done) -> str:
    return done.ok().json["target"]


# -- one source ------------------------------------------------------------------------------------------------


def test_no_target(nobody: Bazar) -> None:
    error = failed(nobody("users", "list", *JSON), 2, "target.missing")
    looked = ("--profile", "--env-file", "BAZAR_PROFILE", *TARGET, "./.env", "./docker/server/.env", "active profile")
    for place in (*looked, str(nobody.home / "config")):
        assert place in error["message"]
    assert "bazar local start" in error["hint"]
    text = nobody("auth", "login").err.splitlines()
    assert [line.partition(":")[0] for line in text] == ["error", "hint"]


def test_half_a_target(signed_out: Bazar) -> None:
    half = signed_out.lacking("SUPABASE_KEY", "DATABASE_URL")
    env_file(half.folder("work") / ".env", signed_out)
    error = failed(half("users", "list", *JSON), 2, "target.incomplete")
    assert error["details"]["missing"] == ["SUPABASE_KEY", "DATABASE_URL"]
    assert "SUPABASE_KEY, DATABASE_URL are missing" in error["message"]


def test_two_targets(signed_out: Bazar) -> None:
    words = ("--profile", "staging", "--env-file", "staging.env")
    failed(signed_out("users", "list", *words, *JSON), 2, "target.two_sources")


def test_unknown_profile(signed_out: Bazar) -> None:
    failed(signed_out("users", "list", "--profile", "staging", *JSON), 2, "target.unknown_profile")
    by_name = signed_out.having(BAZAR_PROFILE="staging")
    assert "'staging'" in failed(by_name("users", "list", *JSON), 2, "target.unknown_profile")["message"]


def test_profile_by_name_by_variable_or_active(signed_out: Bazar, nobody: Bazar, member: Someone) -> None:
    done = signed_out("config", "profiles", "add", "staging", *JSON).ok()
    assert signed_out.environ["SUPABASE_KEY"] not in done.out + done.err
    sign_in(nobody, member, "--profile", "staging").ok()
    elsewhere = nobody.having(SUPABASE_URL=CLOSED, SUPABASE_KEY="k", DATABASE_URL="postgresql://127.0.0.1:1/x")
    status = ("auth", "status", *JSON)
    assert shown_target(elsewhere(*status, "--profile", "staging")) == "profile staging"
    assert shown_target(elsewhere.having(BAZAR_PROFILE="staging")(*status)) == "profile staging"
    assert shown_target(nobody(*status)) == "profile staging"
    # A session belongs to its profile: the same service reached by other means has none.
    assert signed_out(*status).code == 4


@pytest.mark.parametrize("name", [".env", "docker/server/.env"])
def test_env_file_of_the_current_folder(nobody: Bazar, signed_out: Bazar, member: Someone, name: str) -> None:
    sign_in(signed_out, member).ok()
    folder = env_file(nobody.folder("work") / name, signed_out).parents[name.count("/")]
    found = nobody("auth", "status", *JSON, cwd=folder)
    assert shown_target(found) == f"env-file {name}"
    assert found.json["email"] == member.email


@pytest.mark.embedded  # another target may go by another URL than its issuer's
def test_token_is_used_with_a_found_env_file_of_its_issuer(nobody: Bazar, as_user: AsUser, member: Someone) -> None:
    bazar = as_user(member)
    env_file(nobody.folder("work") / ".env", bazar)
    found = bazar.lacking(*TARGET)("auth", "status", *JSON).ok().json
    assert (found["email"], found["source"]) == (member.email, "BAZAR_TOKEN")


def test_named_env_file_comes_before_the_environment(as_user: AsUser, member: Someone) -> None:
    bazar = as_user(member)
    env_file(bazar.folder("work") / "my.env", bazar)
    found = bazar.having(SUPABASE_URL=CLOSED)("auth", "status", *JSON, "--env-file", "my.env")
    assert shown_target(found) == "env-file my.env"


UNREADABLE: dict[str, Callable[[Path], object]] = {
    "nothing": lambda _path: None,
    "a folder": lambda path: path.mkdir(),
    "no text": lambda path: path.write_bytes(b"SUPABASE_KEY=\xff\xfe\n"),
}


@pytest.mark.parametrize("make", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_env_file_that_cannot_be_read(nobody: Bazar, make: Callable[[Path], object]) -> None:
    make(nobody.folder("work") / "my.env")
    error = failed(nobody("users", "list", "--env-file", "my.env", *JSON), 2, "target.env_file")
    assert "my.env" in error["message"]


# -- plain text ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "url"),
    [("SUPABASE_URL", "http://gateway:8000"), ("DATABASE_URL", "postgresql://bazar:database-word@gateway/bazar")],
)
def test_plain_text_to_another_host(signed_out: Bazar, name: str, url: str) -> None:
    bazar = signed_out.having(**{name: url})
    done = bazar("users", "list", *JSON)
    error = failed(done, 2, "target.plaintext_refused")
    assert error["details"] == {"host": "gateway"}
    assert "BAZAR_ALLOW_PLAINTEXT=gateway" in error["hint"]
    assert "database-word" not in done.err
    failed(bazar.having(BAZAR_ALLOW_PLAINTEXT="db")("users", "list", *JSON), 2, "target.plaintext_refused")
    failed(bazar.having(BAZAR_ALLOW_PLAINTEXT="db,gateway")("users", "list", *JSON), 4, "auth.not_signed_in")


# -- somebody else's .env ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("users", "list"), ("auth", "token"), ("db", "migrate", "--no-input")])
def test_superuser_of_an_env_file_signs_in_nobody(signed_out: Bazar, root: Someone, words: tuple[str, ...]) -> None:
    superuser = {"SUPERUSER_EMAIL": root.email, "SUPERUSER_PASSWORD": OLD_PASSWORD}
    env_file(signed_out.folder("work") / ".env", signed_out, **superuser)
    failed(signed_out.lacking(*TARGET)(*words, *JSON), 4, "auth.not_signed_in")


def test_superuser_of_an_env_file_is_not_mixed_into_the_environment(signed_out: Bazar, root: Someone) -> None:
    superuser = {"SUPERUSER_EMAIL": root.email, "SUPERUSER_PASSWORD": OLD_PASSWORD}
    env_file(signed_out.folder("work") / ".env", signed_out, **superuser)
    failed(signed_out("users", "list", *JSON), 4, "auth.not_signed_in")


# -- systems that are down ---------------------------------------------------------------------------------------


def test_postgres_is_down(as_user: AsUser, member: Someone) -> None:
    down = as_user(member).having(DATABASE_URL="postgresql://bazar:database-word@127.0.0.1:1/bazar")
    for words in (("users", "list"), ("auth", "status")):
        done = down(*words, *JSON)
        error = failed(done, 7, "postgres.unavailable")
        assert "127.0.0.1:1/bazar" in error["message"]
        assert "database-word" not in done.err


def test_auth_is_down(as_user: AsUser, root: Someone) -> None:
    down = as_user(root).having(SUPABASE_URL=CLOSED)
    error = failed(down("users", "me", *JSON), 7, "supabase.unavailable")
    assert CLOSED in error["message"]
    failed(sign_in(down, root), 7, "supabase.unavailable")


@pytest.mark.embedded  # where only Auth itself can verify a token, nothing goes on without it
def test_reads_go_on_while_auth_is_down(as_user: AsUser, people: People, target: Target, root: Someone) -> None:
    with wire_to(target) as wire:
        bazar = as_user(root).having(SUPABASE_URL=wire.target.supabase_url)
        bazar("users", "me").ok()
        wire.cut = True
        assert bazar("users", "get", root.email, "-o", "ids").ok().out == f"{root.id}\n"
        bazar("auth", "status").ok()
        failed(bazar("users", "update", root.email, "--name", "New", *JSON), 7, "supabase.unavailable")
    assert (people.row(root) or {})["name"] is None
    assert people.events(root.id) == []


# -- tokens that somebody made -----------------------------------------------------------------------------------


@pytest.mark.embedded
@pytest.mark.parametrize("words", [("users", "list"), ("users", "create", "x@example.com"), ("auth", "status")])
def test_bad_token(signed_out: Bazar, root: Someone, auth_keys: AuthKeys, words: tuple[str, ...]) -> None:
    signer, claims = Signer.of(auth_keys), claims_of(root)
    bad = {
        Signer.stranger(signer.kid).sign(claims): "auth.token_invalid",
        Signer.stranger().sign(claims): "auth.token_invalid",
        signer.sign({**claims, "exp": int(time.time()) - 1}): "auth.token_expired",
        unsigned(claims): "auth.token_invalid",
        unsigned({"role": "service_role", **claims}, alg="HS256"): "auth.token_invalid",
    }
    sign_in(signed_out, root).ok()
    for token, code in bad.items():
        done = signed_out.having(BAZAR_TOKEN=token.reveal())(*words, *JSON)
        failed(done, 4, code)
        assert token.reveal() not in done.err


def test_service_key_is_no_token(signed_out: Bazar) -> None:
    key = signed_out.environ["SUPABASE_KEY"]
    failed(signed_out.having(BAZAR_TOKEN=key)("users", "list", *JSON), 4, "auth.token_invalid")


@pytest.mark.embedded
def test_service_key_as_a_jwt_is_no_token(signed_out: Bazar, auth_keys: AuthKeys) -> None:
    failed(signed_out.having(BAZAR_TOKEN=auth_keys.service_key)("users", "list", *JSON), 4, "auth.token_invalid")
