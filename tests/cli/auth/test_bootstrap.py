"""The first superuser: SUPERUSER_EMAIL of a system that has none (docs/permissions.md)."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bazar_cli.devstack.auth.keys import AuthKeys
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.cli.auth.support import sign_in
from tests.support.auth_service import environment_of, running_auth_service
from tests.support.cli import Bazar, Done
from tests.support.people import OLD_PASSWORD, People, Someone
from tests.support.postgres import sibling

JSON = ("-o", "json")
PASSWORD = "the-first-password"
MIGRATE = ("db", "migrate", "--no-input", *JSON)


@dataclass(frozen=True)
class Young:
    """A system without superuser, and SUPERUSER_* of nobody whom Supabase knows yet."""

    people: People
    bazar: Bazar
    email: str

    def rows(self) -> list[dict[str, Any]]:
        """All users in Postgres; none where there are no tables yet."""
        if not self.is_migrated():
            return []
        return self.people.sql("SELECT id, email, plan, state, is_superuser FROM bazar.users ORDER BY email")

    def is_migrated(self) -> bool:
        (found,) = self.people.sql("SELECT to_regclass('bazar.users') IS NOT NULL AS yes")
        return bool(found["yes"])

    def named(self, email: str, password: str = OLD_PASSWORD) -> Bazar:
        """`bazar` with other SUPERUSER_* in the environment."""
        return self.bazar.having(SUPERUSER_EMAIL=email, SUPERUSER_PASSWORD=password)


@pytest.fixture
def young(
    fresh_database: Callable[..., str], target: Target, nobody: Bazar, unique_email: Callable[[str], str]
) -> Generator[Callable[..., Young]]:
    """Make systems with a database of their own beside the worker's Auth service."""
    with ExitStack() as stack:

        def make(*, migrated: bool = False) -> Young:
            own = replace(target, database_url=Secret(fresh_database(migrated=migrated)))
            email = unique_email("root")
            bazar = nobody.on(own).having(SUPERUSER_EMAIL=email, SUPERUSER_PASSWORD=PASSWORD)
            return Young(stack.enter_context(People(own)), bazar, email)

        yield make


@pytest.fixture
def someone(people: People) -> Someone:
    """An identity that Supabase knows, of no user in Postgres."""
    made = people.user()
    people.identity(made)
    people.sql("DELETE FROM bazar.users WHERE id = %s", made.id)
    return made


def failed(done: Done) -> tuple[int, str]:
    assert done.out == ""
    assert PASSWORD not in done.err
    return done.code, done.error["code"]


def test_empty_system_becomes_a_ruled_one(
    fresh_database: Callable[..., str], auth_keys: AuthKeys, target: Target, nobody: Bazar
) -> None:
    url = fresh_database()
    with running_auth_service(environment_of(auth_keys, url)) as service:
        own = replace(target, supabase_url=service, database_url=Secret(url))
        bazar = nobody.on(own).having(SUPERUSER_EMAIL="Root@example.com", SUPERUSER_PASSWORD=PASSWORD)
        with People(own) as people:
            done = bazar(*MIGRATE).ok()
            assert done.json["applied"]
            assert PASSWORD not in done.out + done.err
            (identity,) = people.identities("root@example.com")
            assert identity["email_confirmed_at"] is not None
            assert people.signs_in("root@example.com", PASSWORD)
            (row,) = people.sql("SELECT id, email, plan, is_superuser FROM bazar.users")
            assert (str(row["id"]), row["email"]) == (str(identity["id"]), "root@example.com")
            assert (row["plan"], row["is_superuser"]) == ("premium", True)
            assert not (bazar.home / "config").exists()
            before = people.everything()
            again = bazar(*MIGRATE).ok()
            assert again.json["applied"] == []
            after = people.everything()
            # Signing in changes the identity's own times, makes a session, and nothing else.
            assert {**before, "auth.users": [], "auth.sessions": []} == {
                **after,
                "auth.users": [],
                "auth.sessions": [],
            }
            assert bazar("users", "me", *JSON).ok().json["is_superuser"] is True


def test_once_somebody_rules_another_address_grants_nothing(
    young: Callable[..., Young], people: People, someone: Someone, unique_email: Callable[[str], str]
) -> None:
    system = young(migrated=True)
    system.bazar(*MIGRATE).ok()
    ruled = system.rows()
    assert [(row["email"], row["is_superuser"]) for row in ruled] == [(system.email, True)]
    unknown = unique_email("late")
    assert failed(system.named(unknown, PASSWORD)(*MIGRATE)) == (4, "auth.invalid_credentials")
    assert people.identities(unknown) == []
    assert failed(system.named(someone.email)(*MIGRATE)) == (5, "access.unknown_operator")
    late = sign_in(system.named(unknown, PASSWORD), Someone(someone.id, unknown), password=PASSWORD)
    assert failed(late) == (4, "auth.invalid_credentials")
    assert sign_in(system.named(someone.email), someone).ok().json["is_superuser"] is None
    assert system.rows() == ruled


def test_known_superuser_keeps_the_password(young: Callable[..., Young], people: People, someone: Someone) -> None:
    system = young()
    assert failed(system.named(someone.email, PASSWORD)(*MIGRATE)) == (4, "auth.invalid_credentials")
    assert people.signs_in(someone.email, OLD_PASSWORD)
    assert not people.signs_in(someone.email, PASSWORD)
    assert not system.is_migrated()


def test_address_that_never_was_confirmed_is_no_superuser(
    young: Callable[..., Young], people: People, someone: Someone
) -> None:
    system = young()
    people.sql("UPDATE auth.users SET email_confirmed_at = NULL WHERE id = %s", someone.id)
    assert failed(system.named(someone.email)(*MIGRATE)) == (4, "auth.email_not_confirmed")
    assert not system.is_migrated()


LOOKING = {
    "dry run": ((*MIGRATE, "--dry-run"), 0),
    "SQL": ((*MIGRATE, "--sql"), 0),
    "status": (("db", "status", *JSON), 0),
    "check": (("db", "status", "--check", *JSON), 9),
}


@pytest.mark.parametrize("migrated", [False, True], ids=["empty", "migrated"])
def test_dry_run_needs_no_identity_and_creates_none(
    young: Callable[..., Young], people: People, migrated: bool
) -> None:
    system = young(migrated=migrated)
    for what, (words, code) in LOOKING.items():
        done = system.bazar(*words)
        assert done.code == (0 if migrated else code), (what, done.err)
        assert bool(done.json["pending"]) is not migrated, what
    assert people.identities(system.email) == []
    assert (system.is_migrated(), system.rows()) == (migrated, [])
    assert failed(system.bazar("users", "list", *JSON)) == (4, "auth.invalid_credentials")
    assert people.identities(system.email) == []


@pytest.mark.parametrize("words", [words for words, _ in LOOKING.values()], ids=LOOKING)
def test_looking_first_is_for_the_password_of_a_known_address(
    young: Callable[..., Young], someone: Someone, words: tuple[str, ...]
) -> None:
    system = young()
    refused = system.named(someone.email, PASSWORD)(*words)
    assert failed(refused) == (4, "auth.invalid_credentials")
    assert f"knows {someone.email} with another password" in refused.error["message"]
    assert failed(system.bazar.having(SUPABASE_KEY="sb_secret_wrong")(*words)) == (6, "supabase.key_refused")
    assert bool(system.named(someone.email)(*words).json["pending"])


def test_looking_as_a_new_address_is_over_once_somebody_rules(
    young: Callable[..., Young], unique_email: Callable[[str], str]
) -> None:
    system = young(migrated=True)
    system.bazar(*MIGRATE).ok()
    late = system.named(unique_email("late"), PASSWORD)
    for words, _ in LOOKING.values():
        assert failed(late(*words)) == (4, "auth.invalid_credentials")


UNUSABLE = {
    "no address": ({"SUPERUSER_EMAIL": "not an email"}, "users.email_invalid", "SUPERUSER_EMAIL of the environment"),
    "too long": ({"SUPERUSER_PASSWORD": "a" * 71 + "é"}, "users.password_invalid", "SUPERUSER_PASSWORD: the password"),
    "too short": ({"SUPERUSER_PASSWORD": "five5"}, "users.password_invalid", "SUPERUSER_PASSWORD: the password"),
}


@pytest.mark.parametrize(("given", "code", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_credentials_that_supabase_could_not_take(
    young: Callable[..., Young], people: People, given: dict[str, str], code: str, message: str
) -> None:
    system = young()
    bazar = system.bazar.having(**given)
    for words in (MIGRATE, (*MIGRATE, "--dry-run")):
        done = bazar(*words)
        assert (done.code, done.out, done.error["code"]) == (2, "", code)
        assert done.error["message"].startswith(message)
        assert not set(given.values()) & {done.error["message"]}
    assert (people.identities(system.email), system.is_migrated()) == ([], False)


def test_login_names_the_fault_of_a_first_password(young: Callable[..., Young]) -> None:
    system = young(migrated=True)
    long = "a" * 73
    root = Someone(uuid.uuid4(), system.email)
    done = sign_in(system.named(system.email, long), root, password=long)
    assert failed(done) == (2, "users.password_invalid")
    assert "73 bytes" in done.error["message"]


def test_without_postgres_nothing_is_created(young: Callable[..., Young], people: People) -> None:
    system = young()
    down = system.bazar.having(DATABASE_URL="postgresql://bazar@127.0.0.1:1/bazar")
    assert failed(down(*MIGRATE)) == (7, "postgres.unavailable")
    assert people.identities(system.email) == []


def test_database_that_does_not_exist_is_named_and_nothing_is_created(
    young: Callable[..., Young], people: People, someone: Someone
) -> None:
    system = young()
    url = system.bazar.environ["DATABASE_URL"]
    gone = urlsplit(url)._replace(path="/no_such_database").geturl()
    bazar = system.bazar.having(DATABASE_URL=gone)
    signed_in = bazar.having(BAZAR_TOKEN=people.access_token(someone))
    for words in (MIGRATE, (*MIGRATE, "--dry-run"), ("db", "status", *JSON)):
        assert failed(bazar(*words)) == failed(signed_in(*words)) == (6, "db.no_database"), words
    assert failed(signed_in("users", "list", *JSON)) == (6, "db.no_database")
    elsewhere = system.bazar.having(DATABASE_MIGRATION_URL=gone)("db", "status", *JSON)
    assert failed(elsewhere) == (6, "db.no_database")
    assert "/no_such_database does not exist" in elsewhere.error["message"]
    assert elsewhere.error["hint"].startswith("check DATABASE_MIGRATION_URL, or ")
    assert people.identities(system.email) == []


def test_env_file_bootstraps_only_its_target(young: Callable[..., Young]) -> None:
    system = young()
    names = ("SUPABASE_URL", "SUPABASE_KEY", "DATABASE_URL", "SUPERUSER_EMAIL", "SUPERUSER_PASSWORD")
    text = "".join(f"{name}={system.bazar.environ[name]}\n" for name in names)
    (system.bazar.folder("work") / ".env").write_text(text)
    bazar = system.bazar.lacking(*names)
    assert failed(bazar("users", "list", *JSON)) == (4, "auth.not_signed_in")
    bazar(*MIGRATE).ok()
    assert [row["email"] for row in system.rows()] == [system.email]
    assert failed(bazar("users", "list", *JSON)) == (4, "auth.not_signed_in")
    assert failed(bazar(*MIGRATE)) == (4, "auth.not_signed_in")


def test_old_address_in_a_token_is_not_believed(young: Callable[..., Young], people: People, someone: Someone) -> None:
    system = young(migrated=True)
    bazar = system.named(someone.email).having(BAZAR_TOKEN=people.access_token(someone))
    people.sql("UPDATE auth.users SET email = 'moved.' || email WHERE id = %s", someone.id)
    assert failed(bazar("db", "status", *JSON)) == (5, "access.unknown_operator")
    assert failed(bazar(*MIGRATE)) == (5, "access.unknown_operator")
    assert system.rows() == []


def test_denial_of_migrate_names_the_first_superuser(
    young: Callable[..., Young], people: People, someone: Someone
) -> None:
    system = young()
    done = system.bazar.having(BAZAR_TOKEN=people.access_token(someone))(*MIGRATE)
    assert failed(done) == (6, "db.not_migrated")
    assert "SUPERUSER_EMAIL" in done.error["hint"]
    assert not system.is_migrated()


def test_two_first_runs_at_once(young: Callable[..., Young], people: People) -> None:
    system = young()
    running = [system.bazar.start(*MIGRATE) for _ in range(2)]
    said = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    assert [(row["email"], row["is_superuser"]) for row in system.rows()] == [(system.email, True)]
    assert len(people.identities(system.email)) == 1
    assert len(system.people.events(system.rows()[0]["id"])) == 1


def test_login_after_plain_alembic(young: Callable[..., Young], people: People, someone: Someone) -> None:
    system = young()
    subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        env={"PATH": os.environ["PATH"], "DATABASE_URL": system.bazar.environ["DATABASE_URL"]},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        check=True,
    )
    stranger = sign_in(system.bazar, someone).ok()
    assert stranger.json["is_superuser"] is None
    root = Someone(someone.id, system.email)
    assert sign_in(system.bazar, root, password="wrong-password").code == 4
    assert (system.rows(), people.identities(system.email)) == ([], [])
    first = sign_in(system.bazar, root, password=PASSWORD).ok()
    assert (first.json["is_superuser"], first.json["plan"]) == (True, "premium")
    assert f"{system.email} is now the first superuser" in first.err
    assert PASSWORD not in first.out + first.err
    again = sign_in(system.bazar, root, password=PASSWORD).ok()
    assert (again.json["is_superuser"], again.err) == (True, "")
    assert [row["email"] for row in system.rows()] == [system.email]
    system.bazar.lacking("SUPERUSER_EMAIL", "SUPERUSER_PASSWORD")("users", "me").ok()


@pytest.mark.parametrize("named", [(), ("SUPERUSER_EMAIL",)], ids=["neither", "the address alone"])
@pytest.mark.parametrize("migrated", [False, True], ids=["empty", "migrated"])
def test_nobody_can_sign_in_before_the_first_superuser_is_named(
    young: Callable[..., Young], named: tuple[str, ...], migrated: bool
) -> None:
    new = young(migrated=migrated)
    left_out = {"SUPERUSER_EMAIL", "SUPERUSER_PASSWORD"} - set(named)
    done = new.bazar.lacking(*left_out)(*MIGRATE)
    assert failed(done) == (4, "auth.not_signed_in")
    assert "first superuser by SUPERUSER_EMAIL and SUPERUSER_PASSWORD" in done.error["hint"]
    new.people.superuser() if migrated else new.bazar(*MIGRATE).ok()
    ruled = new.bazar.lacking(*left_out)(*MIGRATE)
    assert "SUPERUSER" not in ruled.error["hint"]


def test_sign_in_creates_no_identity_for_a_missing_database(
    target: Target, nobody: Bazar, people: People, unique_email: Callable[[str], str]
) -> None:
    email = unique_email("root")
    url = sibling(target.database_url.reveal(), "no_such_database")
    bazar = nobody.on(replace(target, database_url=Secret(url)))
    bazar = bazar.having(SUPERUSER_EMAIL=email, SUPERUSER_PASSWORD=PASSWORD)
    done = bazar("auth", "login", "--email", email, "--password-stdin", *JSON, stdin=f"{PASSWORD}\n")
    assert failed(done) == (6, "db.no_database")
    assert people.identities(email) == []
