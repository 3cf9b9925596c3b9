"""`bazar db migrate`: from an empty database to the head, by whom, and what stops it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from bazar_cli.adapters.migrations.revision_files import revisions, script_location
from bazar_cli.domain.entities import Plan
from tests.cli.db.conftest import On, has_schema, marker_of
from tests.support.cli import Bazar
from tests.support.people import People, Someone

HEAD = revisions(script_location())[-1].id
ALL = [r.id for r in revisions(script_location())]
AsUser = Callable[[Someone], Bazar]
Databases = Callable[..., str]


def superusers(url: str) -> list[tuple[str, str]]:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT email, plan FROM bazar.users WHERE is_superuser").fetchall()


def events_of(url: str) -> list[tuple[object, ...]]:
    """What `db migrate` left in the audit log."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT before ->> 'revision', after ->> 'revision', after -> 'revisions', operator_email"
            " FROM bazar.audit_events WHERE use_case = 'db.migrate' AND target_type = 'database'"
            " AND target_id = current_database() AND outcome = 'done' ORDER BY seq"
        ).fetchall()


def test_empty_database_gets_tables_marker_and_first_superuser(
    first: On, fresh_database: Databases, people: People
) -> None:
    url = fresh_database()
    bazar = first(url)
    email = bazar.environ["SUPERUSER_EMAIL"].lower()
    done = bazar("db", "migrate", "-o", "json").ok()
    result = done.json
    assert list(result) == [
        "host",
        "database",
        "marker",
        "current",
        "head",
        "applied",
        "pending",
        "waited_ms",
        "holder",
    ]
    assert [a["revision"] for a in result["applied"]] == ALL
    assert (result["current"], result["head"], result["pending"]) == (HEAD, HEAD, [])
    assert result["marker"] == {"environment": "production", "protected": True}
    assert f"Applying {ALL[0]}" in done.err
    assert superusers(url) == [(email, "premium")]
    (identity,) = people.identities(email)
    me = bazar("users", "me", "-o", "json").ok().json
    assert (me["id"], me["is_superuser"]) == (str(identity["id"]), True)
    again = bazar("db", "migrate", "-o", "json").ok()
    assert (again.json["applied"], again.err) == ([], "nothing is pending\n")
    assert bazar("db", "migrate", "--quiet").ok().err == ""
    assert superusers(url) == [(email, "premium")]


def test_plain_alembic_first_and_the_superuser_later(first: On, fresh_database: Databases) -> None:
    url = fresh_database(migrated=True)
    bazar = first(url)
    assert bazar("db", "migrate", "-o", "json").ok().json["applied"] == []
    assert superusers(url) == [(bazar.environ["SUPERUSER_EMAIL"].lower(), "premium")]


def test_marker_of_an_empty_database_can_be_named(first: On, fresh_database: Databases) -> None:
    url = fresh_database()
    bazar = first(url)
    done = bazar("db", "migrate", "--env", "staging", "--unprotected").ok()
    assert "marker\tstaging, unprotected\n" in done.out
    same = bazar("db", "migrate", "--env", "staging", "--unprotected").ok()
    assert same.err == "nothing is pending\n"
    for words in (("--env", "other"), ("--env", "other", "--dry-run")):
        other = bazar("db", "migrate", *words, "--quiet").ok()
        assert "warning: the database is marked staging, unprotected: --env and --unprotected are ignored" in other.err
    assert marker_of(url) == ("staging", False)


def test_unprotected_is_not_taken_silently(first: On, fresh_database: Databases) -> None:
    url = fresh_database()
    bazar = first(url)
    bazar("db", "migrate").ok()
    done = bazar("db", "migrate", "--unprotected").ok()
    assert "warning: the database is marked production, protected: --env and --unprotected are ignored" in done.err
    assert marker_of(url) == ("production", True)


def test_lost_marker_is_named_and_replaced(first: On, fresh_database: Databases) -> None:
    url = fresh_database(migrated=True)
    bazar = first(url)
    bazar("db", "migrate").ok()
    with psycopg.connect(url) as connection:
        connection.execute("DELETE FROM bazar.deployment")
    done = bazar("users", "create", "late@example.com", "-o", "json")
    assert (done.code, done.out, done.error["code"]) == (6, "", "db.no_marker")
    assert "bazar db migrate --env" in done.error["hint"]
    assert bazar("db", "migrate", "--env", "staging", "--dry-run", "-o", "json").ok().json["marker"] is None
    made = bazar("db", "migrate", "--env", "staging", "-o", "json").ok()
    assert made.json["marker"] == {"environment": "staging", "protected": True}
    assert "had lost its marker" in made.err
    assert marker_of(url) == ("staging", True)
    assert bazar("users", "create", "late@example.com", "--dry-run").code == 0


@pytest.mark.parametrize("name", ["", " ", "a\nb\x1b[31m", "x" * 64, "-o"])
def test_name_that_no_environment_can_have(first: On, fresh_database: Databases, name: str) -> None:
    url = fresh_database()
    for words in ((), ("--dry-run",)):
        done = first(url)("db", "migrate", f"--env={name}", *words, "-o", "json")
        assert (done.code, done.out, done.error["code"]) == (2, "", "db.environment_name")
        assert "\x1b" not in done.err
        assert len(done.error["message"]) < 250
    assert not has_schema(url)


@pytest.mark.parametrize("option", ["--lock-wait", "--lock-timeout"])
def test_waiting_time_out_of_range_is_refused(first: On, fresh_database: Databases, option: str) -> None:
    bazar = first(fresh_database(migrated=True))
    for seconds in ("-1", "nan", "inf", "1e99"):
        done = bazar("db", "migrate", f"{option}={seconds}", "-o", "json")
        assert (done.code, done.out, done.error["code"]) == (2, "", "usage.invalid_value"), seconds
        assert done.error["message"].startswith(f"{option} ")


def test_steps_and_revisions(first: On, fresh_database: Databases) -> None:
    url = fresh_database()
    bazar = first(url)
    bad = {
        ("--steps", "0"): "db.steps_invalid",
        ("--steps", "-1"): "db.steps_invalid",
        ("--steps", "1", ALL[0]): "db.steps_and_revision",
        ("no-such-revision",): "db.no_such_revision",
        ("--steps", "many"): "usage.invalid_value",
    }
    for words, code in bad.items():
        done = bazar("db", "migrate", *words, "-o", "json")
        assert (done.code, done.out, done.error["code"]) == (2, "", code)
        assert done.error["hint"]
    assert not has_schema(url)
    part = bazar("db", "migrate", "--steps", "1", "-o", "json").ok().json
    assert ([a["revision"] for a in part["applied"]], part["current"]) == (ALL[:1], ALL[0])
    assert [r["revision"] for r in part["pending"]] == ALL[1:]
    one = bazar("db", "migrate", ALL[1], "--dry-run", "-o", "json").ok()
    assert [r["revision"] for r in one.json["would_apply"]] == ALL[1:2]
    assert [r["revision"] for r in one.json["pending"]] == ALL[1:]
    assert (f"would apply: {ALL[1]} (" in one.err, ALL[2] in one.err) == (True, False)
    bazar("db", "migrate", ALL[1]).ok()
    for revision, where in ((ALL[0], f"{ALL[1]}, past {ALL[0]}"), (ALL[1], ALL[1])):
        for words in ((), ("--dry-run",)):
            none = bazar("db", "migrate", revision, *words, "-o", "json").ok()
            assert (none.json["applied"], none.json.get("would_apply", [])) == ([], [])
            assert [(r["revision"], r["destructive"]) for r in none.json["pending"]] == [(r, False) for r in ALL[2:]]
            assert f"nothing to do: the database is at {where}; pending: {ALL[2]} (" in none.err
    assert bazar("db", "migrate", "head", "-o", "json").ok().json["current"] == HEAD
    email = bazar.environ["SUPERUSER_EMAIL"].lower()
    way = [(None, ALL[0], ALL[:1]), (ALL[0], ALL[1], ALL[1:2]), (ALL[1], HEAD, ALL[2:])]
    assert events_of(url) == [(*step, email) for step in way]


def test_dry_run_lists_pending_revisions_and_writes_nothing(
    first: On, known: On, fresh_database: Databases, people: People
) -> None:
    url = fresh_database()
    done = known(url)("db", "migrate", "--dry-run", "-o", "json").ok()
    assert [r["revision"] for r in done.json["pending"]] == ALL
    assert (done.json["applied"], done.json["current"]) == ([], None)
    assert "nothing was written" in done.err
    assert [r["revision"] for r in done.json["would_apply"]] == ALL
    assert f"would apply: {ALL[0]} (" in done.err
    assert [r["transactional"] for r in done.json["pending"]] == [True] * len(ALL)
    assert "CREATE TABLE bazar.users" in done.json["sql"]
    assert known(url)("db", "migrate", "--dry-run").ok().out.rstrip() == done.json["sql"].rstrip()
    unknown = first(url)
    unknown("db", "migrate", "--dry-run")
    assert people.identities(unknown.environ["SUPERUSER_EMAIL"].lower()) == []
    assert not has_schema(url)


@pytest.mark.live
def test_head_is_migrated_to_without_a_change(admin: Bazar) -> None:
    done = admin("db", "migrate", "-o", "json").ok()
    assert (done.json["current"], done.json["applied"], done.json["pending"]) == (HEAD, [], [])
    assert done.err == "nothing is pending\n"


@pytest.mark.live
def test_premium_alone_may_not(as_user: AsUser, people: People) -> None:
    premium = people.user(plan=Plan.PREMIUM)
    bazar = as_user(premium)
    for words in (("migrate",), ("migrate", "--dry-run"), ("migrate", "--sql"), ("status",)):
        done = bazar("db", *words, "-o", "json")
        assert (done.code, done.out, done.error["code"]) == (5, "", "access.platform")
    events = people.sql("SELECT use_case FROM bazar.audit_events WHERE operator_id = %s", premium.id)
    # What only shows writes nothing, not even its denial.
    assert sorted(e["use_case"] for e in events) == ["db.migrate", "db.status"]


@pytest.mark.live
def test_free_and_signed_out_operators_are_denied(as_user: AsUser, people: People, signed_out: Bazar) -> None:
    done = as_user(people.user())("db", "migrate", "-o", "json")
    assert (done.code, done.error["code"]) == (5, "access.plan")
    assert done.error["details"]["permissions"] == ["db:migrate"]
    assert signed_out("db", "migrate").code == 4


def test_unknown_revision_of_a_newer_release(first: On, fresh_database: Databases) -> None:
    url = fresh_database(migrated=True)
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE bazar.alembic_version SET version_num = '9999'")
    bazar = first(url)
    done = bazar("db", "migrate", "-o", "json")
    assert (done.code, done.error["code"], done.error["details"]["current"]) == (6, "db.unknown_revision", "9999")
    status = bazar("db", "status", "--check", "-o", "json")
    assert (status.code, status.json["unknown_revision"], status.error["code"]) == (6, True, "db.unknown_revision")
    assert "does not have" in bazar("db", "status").ok().err


@contextmanager
def pooled(url: str) -> Generator[str]:
    """Lend the address of a database by way of port 6543, where Supabase has its transaction pooler."""
    # A Unix socket's name holds the port and must be short, so its folder is not pytest's own.
    with tempfile.TemporaryDirectory(prefix="bazar-") as folder:
        host = str(conninfo_to_dict(url)["host"])
        (Path(folder) / ".s.PGSQL.6543").symlink_to(Path(host) / ".s.PGSQL.5432")
        yield url.partition("?")[0] + f"?host={folder}&port=6543"


def test_transaction_pooler_is_refused(first: On, fresh_database: Databases) -> None:
    url = fresh_database()
    with pooled(url) as by_pooler:
        bazar = first(by_pooler)
        done = bazar("db", "migrate", "-o", "json")
        assert (done.code, done.out, done.error["code"]) == (10, "", "db.transaction_pooler")
        assert "DATABASE_MIGRATION_URL" in done.error["hint"]
        assert not has_schema(url)
        bazar.having(DATABASE_MIGRATION_URL=url)("db", "migrate").ok()
    assert len(superusers(url)) == 1
