"""The stack's superuser: taken from the environment, kept, changed, and found again; and `bazar local reset`."""

from __future__ import annotations

import secrets
from collections.abc import Generator
from dataclasses import dataclass

import pytest

from bazar_cli.adapters.migrations.revision_files import revisions, script_location
from tests.cli.local.conftest import GROUP, START, environment, parts, postmasters, stack_home
from tests.support.cli import Bazar, Done

pytestmark = GROUP
EMAIL, PASSWORD = "Root@example.com", "given-at-first"
STAGING = {
    "SUPABASE_URL": "https://staging.supabase.co",
    "SUPABASE_KEY": "sb_secret_staging",
    "DATABASE_URL": "postgresql://db.example.com/bazar?sslmode=require",
}
LOCAL = ("--profile", "local")


@dataclass(frozen=True)
class Named:
    """A stack whose superuser was given, in a home that had another profile before."""

    bazar: Bazar
    first: Done
    env: dict[str, str]
    """What `local env` gave after the first start."""


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Generator[Named]:
    with stack_home(tmp_path_factory.mktemp("named") / "home") as bazar:
        bazar.having(**STAGING)("config", "profiles", "add", "staging").ok()
        first = bazar.having(SUPERUSER_EMAIL=EMAIL, SUPERUSER_PASSWORD=PASSWORD)(*START).ok()
        yield Named(bazar, first, environment(bazar))


def changed_password(bazar: Bazar) -> str:
    """Change the superuser's password as people do; return the new one, which the stack does not know yet."""
    password = secrets.token_hex(8)
    bazar("auth", "password", "--password-stdin", *LOCAL, stdin=password + "\n").ok()
    return password


def sign_in(bazar: Bazar, password: str) -> Done:
    return bazar("auth", "login", "--email", EMAIL, "--password-stdin", *LOCAL, stdin=password + "\n")


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"SUPERUSER_EMAIL": "not an email"}, "users.email_invalid"),
        ({"SUPERUSER_PASSWORD": "a" * 71 + "\u00e9"}, "users.password_invalid"),
        ({"SUPERUSER_PASSWORD": "five5"}, "users.password_invalid"),
    ],
)
def test_superuser_that_supabase_rejects_starts_and_keeps_nothing(
    nobody: Bazar, given: dict[str, str], code: str
) -> None:
    done = nobody.having(**given)(*START)
    assert (done.code, done.out, done.error["code"]) == (2, "", code)
    assert done.error["message"].startswith(next(iter(given)))
    assert not (nobody.home / "data").exists()


def test_superuser_is_the_given_one(named: Named) -> None:
    assert named.first.json["superuser_email"] == EMAIL
    assert (named.env["SUPERUSER_EMAIL"], named.env["SUPERUSER_PASSWORD"]) == (EMAIL, PASSWORD)
    assert PASSWORD not in named.first.out + named.first.err
    me = named.bazar("users", "me", *LOCAL, "-o", "json").ok().json
    assert (me["email"], me["is_superuser"]) == (EMAIL.lower(), True)


def test_active_profile_of_the_user_remains_active(named: Named) -> None:
    listed = named.bazar("config", "profiles", "list", "-o", "json").ok().json["items"]
    assert {p["name"]: p["active"] for p in listed} == {"local": False, "staging": True}
    assert f"bazar users list {' '.join(LOCAL)}\n" in named.first.err


def test_start_works_by_its_session_after_the_password_was_changed(named: Named) -> None:
    password = changed_password(named.bazar)
    done = named.bazar(*START).ok()
    assert (done.json["already_running"], done.json["migrated"]) == (True, 0)
    assert sign_in(named.bazar, password).code == 0


def test_start_without_a_session_needs_the_new_password_once(named: Named) -> None:
    bazar = named.bazar
    password = changed_password(bazar)
    bazar("auth", "logout", *LOCAL).ok()
    refused = bazar(*START)
    assert (refused.code, refused.out, refused.error["code"]) == (4, "", "auth.invalid_credentials")
    bazar.having(SUPERUSER_PASSWORD=password)(*START).ok()
    assert environment(bazar)["SUPERUSER_PASSWORD"] == password
    bazar("auth", "logout", *LOCAL).ok()
    bazar(*START).ok()


def keeps_its_password(bazar: Bazar, **given: str) -> bool:
    """Start with a superuser that the stack does not have; whether `local env` still tells what it told."""
    right = changed_password(bazar)
    bazar.having(SUPERUSER_PASSWORD=right)("local", "start").ok()
    before = environment(bazar)
    try:
        bazar.having(**given)("local", "start").ok()
        return environment(bazar) == before
    finally:
        bazar.having(SUPERUSER_PASSWORD=right)("local", "start").ok()


def test_superuser_of_another_target_is_ignored(named: Named) -> None:
    given = {"SUPERUSER_EMAIL": "other@example.com", "SUPERUSER_PASSWORD": "another-password"}
    done = named.bazar.having(SUPERUSER_EMAIL="other@example.com")(*START).ok()
    assert done.json["superuser_email"] == EMAIL
    assert "other@example.com is ignored" in done.err
    assert keeps_its_password(named.bazar, **given)


def test_password_that_was_never_tried_is_not_remembered(named: Named) -> None:
    assert keeps_its_password(named.bazar, SUPERUSER_PASSWORD="wrong-password")


def test_reset_needs_consent(named: Named) -> None:
    before = parts(named.bazar)
    for words in ((), ("--confirm", "other"), ("--confirm", "LOCAL"), ("--yes",)):
        done = named.bazar("local", "reset", *words, "-o", "json")
        assert (done.code, done.out, done.error["code"]) == (10, "", "local.confirm_mismatch")
        assert done.error["hint"] == "to do it: `bazar local reset --confirm local`"
    assert parts(named.bazar) == before


def test_reset_deletes_the_data_and_keeps_keys_and_superuser(named: Named) -> None:
    bazar = named.bazar
    bazar("users", "create", "gone@example.com", *LOCAL).ok()
    before = environment(bazar)
    done = bazar("local", "reset", "--confirm", "local", "-o", "json").ok()
    assert done.json == {"postgres": True, "auth": True, "data_deleted": True}
    assert postmasters(bazar) == 0
    assert {part["state"] for part in parts(bazar).values()} == {"stopped"}
    assert bazar("users", "list", *LOCAL).code == 7
    started = bazar(*START).ok()
    assert (started.json["already_running"], started.json["migrated"]) == (False, len(revisions(script_location())))
    assert environment(bazar) == before
    users = bazar("users", "list", *LOCAL, "-o", "json").ok().json["items"]
    assert [user["email"] for user in users] == [EMAIL.lower()]
    assert sign_in(bazar, before["SUPERUSER_PASSWORD"]).code == 0
