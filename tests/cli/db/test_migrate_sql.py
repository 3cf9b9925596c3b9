"""`bazar db migrate --sql`: SQL on standard output that makes what `db migrate` makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.cli.db.conftest import On, has_schema, marker_of, schema_of
from tests.support.people import People
from tests.support.release import ADDED, HEAD, Release
from tests.support.row_versions import row_versions

LEFT, RIGHT, JOINED = ADDED[:3]

Databases = Callable[..., str]


def run_sql(url: str, sql: str) -> None:
    """Run a script as psql would: statement by statement, its own transactions included."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.encode())


def test_sql_makes_the_same_schema(known: On, fresh_database: Databases) -> None:
    migrated, by_hand = fresh_database(), fresh_database()
    bazar = known(migrated)
    done = bazar("db", "migrate", "--sql").ok()
    assert done.err == ""
    assert not has_schema(migrated)
    bazar("db", "migrate").ok()
    run_sql(by_hand, done.out)
    assert schema_of(by_hand) == schema_of(migrated)
    assert marker_of(by_hand) == marker_of(migrated) == ("production", True)
    after = known(by_hand)("db", "migrate", "-o", "json").ok().json
    assert (after["applied"], after["pending"]) == ([], [])


def test_sql_as_json_is_one_value(known: On, fresh_database: Databases) -> None:
    done = known(fresh_database())("db", "migrate", "--sql", "-o", "json").ok()
    assert "CREATE TABLE bazar.users" in done.json["sql"]
    assert (done.json["applied"], done.json["current"]) == ([], None)


def test_nothing_pending_is_sql_too(known: On, fresh_database: Databases) -> None:
    url = fresh_database()
    bazar = known(url)
    bazar("db", "migrate").ok()
    before = schema_of(url)
    run_sql(url, bazar("db", "migrate", "--sql").ok().out)
    assert schema_of(url) == before


def test_sql_marks_the_database_as_asked(known: On, fresh_database: Databases) -> None:
    url = fresh_database()
    run_sql(url, known(url)("db", "migrate", "--sql", "--env", "staging", "--unprotected").ok().out)
    assert marker_of(url) == ("staging", False)


def test_sql_writes_nothing_to_supabase_either(first: On, fresh_database: Databases, people: People) -> None:
    bazar = first(fresh_database())
    bazar("db", "migrate", "--sql")
    assert people.identities(bazar.environ["SUPERUSER_EMAIL"].lower()) == []


def test_dry_run_with_sql_prints_it(known: On, fresh_database: Databases) -> None:
    bazar = known(fresh_database())
    done = bazar("db", "migrate", "--sql", "--dry-run").ok()
    assert "CREATE TABLE bazar.users" in done.out
    assert done.out == bazar("db", "migrate", "--sql").ok().out


def test_two_heads_stop_a_dry_run_as_they_stop_the_run(first: On, fresh_database: Databases, tmp_path: Path) -> None:
    url = fresh_database(migrated=True)
    release = Release(tmp_path / "release")
    release.add(LEFT, 'op.execute("CREATE TABLE bazar.left_side (id int)")')
    release.add(RIGHT, 'op.execute("CREATE TABLE bazar.right_side (id int)")', follows=(HEAD,))
    bazar = release.on(first(url))
    before = row_versions(url)
    texts: set[str] = set()
    for words in ((), ("--dry-run",), ("--sql",), (LEFT, "--dry-run"), ("--steps", "1", "--dry-run")):
        done = bazar("db", "migrate", "--no-input", *words)
        assert (done.code, done.out) == (6, ""), words
        texts.add(done.err)
        assert bazar("db", "migrate", "--no-input", *words, "-o", "json").error["code"] == "db.two_heads", words
    (text,) = texts
    assert f"error: the migration files have 2 heads: {LEFT} (Added {LEFT}) and {RIGHT} (Added {RIGHT})\n" in text
    assert "hint: join them with `bazar db merge` in a checkout\n" in text
    assert row_versions(url) == before


@pytest.mark.parametrize("at", ["one side", "both sides"])
def test_sql_of_a_merge_is_what_the_run_does(at: str, first: On, fresh_database: Databases, tmp_path: Path) -> None:
    url = fresh_database(migrated=True)
    release = Release(tmp_path / "release")
    release.add(LEFT, 'op.execute("CREATE TABLE bazar.left_side (id int)")')
    release.add(RIGHT, 'op.execute("CREATE TABLE bazar.right_side (id int)")', follows=(HEAD,))
    for revision in (LEFT, RIGHT) if at == "both sides" else (LEFT,):
        release.alembic(url, "upgrade", revision).ok()
    release.alembic(url, "merge", "-m", "join", "--rev-id", JOINED, "heads").ok()
    bazar = release.on(first(url))
    dry = bazar("db", "migrate", "--dry-run", "--no-input", "-o", "json").ok().json
    coming = [JOINED] if at == "both sides" else [RIGHT, JOINED]
    assert [(r["revision"], r["destructive"]) for r in dry["would_apply"]] == [(name, False) for name in coming]
    assert "left_side" not in dry["sql"]
    run_sql(url, dry["sql"])
    with psycopg.connect(url, autocommit=True) as connection:
        at_head = connection.execute("SELECT version_num FROM bazar.alembic_version").fetchall()
        assert at_head == [(JOINED,)]
        assert connection.execute("SELECT to_regclass('bazar.right_side') IS NULL").fetchone() == (False,)
    assert bazar("db", "migrate", "--no-input", "-o", "json").ok().json["applied"] == []
