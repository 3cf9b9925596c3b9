"""`bazar db create|drop|env|locks`: what a user sees."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from contextlib import closing
from urllib.parse import urlsplit

import psycopg
import pytest

from bazar_cli.domain.target import Target
from tests.cli.db.conftest import On, as_ruler, marker_of, people_apart
from tests.support.cli import Bazar
from tests.support.people import People
from tests.support.postgres import drop_database, sibling

JSON = ("-o", "json")


def test_from_no_database_to_none(first: On, postgres_url: str, as_user: Callable[..., Bazar], people: People) -> None:
    name = f"t_{secrets.token_hex(6)}"
    bazar = first(sibling(postgres_url, name)).having(BAZAR_NO_INPUT="1")
    try:
        nowhere = bazar("db", "migrate", *JSON)
        assert (nowhere.code, nowhere.error["code"]) == (6, "db.no_database")
        assert re.fullmatch(rf"the database \S+/{name} does not exist", nowhere.error["message"])
        assert nowhere.error["hint"].startswith("check DATABASE_URL, or run `bazar db create`")
        stranger = people.user()
        strange = as_user(stranger).having(DATABASE_URL=bazar.environ["DATABASE_URL"], BAZAR_NO_INPUT="1")
        refused = strange("db", "create", *JSON)
        assert (refused.code, refused.error["code"]) == (6, "db.no_database")
        assert bazar("db", "create", "--dry-run", *JSON).ok().json["created"] is True
        assert "created\twould create\n" in bazar("db", "create", "--dry-run").ok().out
        assert bazar("db", "env", *JSON).error["code"] == "db.no_database"

        made = bazar("db", "create", *JSON).ok()
        assert (made.json["database"], made.json["created"]) == (name, True)
        again = bazar("db", "create", *JSON).ok()
        assert (again.json["created"], again.err) == (False, f"{name} exists already\n")
        assert bazar("db", "env", *JSON).error["code"] == "db.not_migrated"
        bazar("db", "migrate", "--env", "staging", *JSON).ok()

        drop = ("db", "drop", "--confirm", name, "--yes", *JSON)
        guarded = bazar(*drop)
        assert (guarded.code, guarded.error["code"]) == (10, "db.protected")
        command = f"bazar db env set staging --unprotected --confirm {name}"
        assert command in guarded.error["hint"]
        bazar(*command.split()[1:]).ok()
        assert marker_of(bazar.environ["DATABASE_URL"]) == ("staging", False)
        assert bazar("db", "drop", "--yes", *JSON).error["code"] == "db.confirm_mismatch"
        assert bazar(*drop).ok().json["environment"] == "staging"
        assert bazar(*drop).error["code"] == "db.no_database"
    finally:
        drop_database(postgres_url, name)


def test_database_name_is_confirmed_in_either_form_of_unicode(
    nobody: Bazar, target: Target, postgres_url: str, fresh_database: Callable[..., str]
) -> None:
    url = fresh_database(migrated=True)
    decomposed, composed = f"zoe\u0308_{secrets.token_hex(6)}", "zo\u00eb"
    name = urlsplit(url).path[1:]
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" RENAME TO "{decomposed}"'.encode())
    try:
        with people_apart(target, sibling(postgres_url, decomposed)) as apart:
            bazar = as_ruler(nobody, apart)
        mark = ("db", "env", "set", "staging", "--unprotected", *JSON)
        shown = bazar(*mark)
        assert (shown.code, shown.error["details"]["database"]) == (10, decomposed)
        for typed in (decomposed, decomposed.replace("zoe\u0308", composed)):
            assert bazar(*mark, "--dry-run", "--confirm", typed).ok().json["database"] == decomposed
        assert bazar(*mark, "--dry-run", "--confirm", decomposed.replace("\u0308", "")).code == 10
    finally:
        drop_database(postgres_url, decomposed)


def test_env_alone_shows_the_marker(admin: Bazar, target: Target) -> None:
    environment, protected = marker_of(target.database_url.reveal())
    alone = admin("db", "env", *JSON).ok()
    assert (alone.json["environment"], alone.json["protected"]) == (environment, protected)
    assert set(alone.json) == {"id", "database", "environment", "protected", "created_at"}
    assert alone.out == admin("db", "env", "show", *JSON).ok().out
    assert f"environment\t{environment}\n" in admin("db", "env").ok().out
    neither = admin("db", "env", "set", "staging", *JSON)
    assert (neither.code, neither.error["code"]) == (2, "usage.missing")
    assert neither.error["message"] == "`bazar db env set` needs --protected or --unprotected"
    both = admin("db", "env", "set", "staging", "--protected", "--unprotected", *JSON)
    assert (both.code, both.out, both.error["code"]) == (2, "", "usage.invalid")


def test_locks_are_listed_and_ended(admin: Bazar, target: Target) -> None:
    with closing(psycopg.connect(target.database_url.reveal(), application_name="a long one")) as holder:
        holder.execute("SELECT 'top secret' FROM bazar.plans")
        pid = holder.info.backend_pid
        listed = admin("db", "locks", *JSON).ok()
        assert "top secret" not in listed.out
        (found,) = [s for s in listed.json["items"] if s["pid"] == pid]
        assert (found["application"], found["state"], found["blocked_by"]) == ("a long one", "idle in transaction", [])
        assert found["query"] == "SELECT ? FROM bazar.plans"
        assert str(pid) in admin("db", "locks", "-o", "ids").ok().out.split()
        asked = admin("db", "locks", "--terminate", str(pid), *JSON)
        assert (asked.code, asked.error["code"]) == (10, "input.consent")
        assert f"`bazar db locks --terminate {pid} --yes`" in asked.error["hint"]
        assert admin("db", "locks", "--terminate", str(pid), "--yes", *JSON).ok().json["pid"] == pid
        with pytest.raises(psycopg.OperationalError):
            holder.execute("SELECT 1")
        gone = admin("db", "locks", "--terminate", str(pid), "--yes", *JSON)
        assert (gone.code, gone.error["code"]) == (3, "db.session_not_found")
