"""`bazar db migrate --sql`: SQL on standard output that makes what `db migrate` makes."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from tests.cli.db.conftest import On, has_schema, marker_of, schema_of
from tests.support.people import People

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
