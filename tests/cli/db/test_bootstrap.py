"""Bootstrap from every place that a database can be in, whom it lets in, and what never opens it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import psycopg
import pytest

from bazar_cli.adapters.migrations.migrator import Migrator
from bazar_cli.adapters.migrations.revision_files import revisions, script_location
from bazar_cli.domain.db.migrations import Migrate
from bazar_cli.domain.entities import Plan, Role
from tests.cli.db.conftest import On, has_schema
from tests.cli.db.test_alembic import alembic
from tests.support.cli import Bazar, Done
from tests.support.people import OLD_PASSWORD, People, Someone, an_address
from tests.support.postgres import drop_database, limited_role, name_of, sibling, target_of
from tests.support.row_versions import row_versions

JSON = ("-o", "json")
MIGRATE = ("db", "migrate", "--no-input", *JSON)
ALL = [r.id for r in revisions(script_location())]
Databases = Callable[..., str]


@pytest.fixture
def root(people: People) -> Someone:
    """An identity that Supabase knows with OLD_PASSWORD, and no database does."""
    made = people.user()
    people.identity(made)
    people.sql("DELETE FROM bazar.users WHERE id = %s", made.id)
    return made


@contextmanager
def named(bazar: Bazar, someone: Someone) -> Generator[tuple[Bazar, People]]:
    """`bazar` with somebody whom Supabase knows as SUPERUSER_EMAIL, and the people of its database."""
    with People(target_of(bazar.environ["DATABASE_URL"])) as there:
        yield bazar.having(SUPERUSER_EMAIL=someone.email, SUPERUSER_PASSWORD=OLD_PASSWORD), there


def failed(done: Done) -> tuple[int, str]:
    assert done.out == ""
    return done.code, done.error["code"]


def at_revision(url: str, revision: str) -> None:
    """Give a database the tables of an earlier revision, and no superuser."""
    Migrator(target_of(url)).migrate(Migrate(revision=revision), lambda _text: None)


def users(url: str) -> list[tuple[str, str, str, bool]]:
    """Every user of a database: id, address, plan and whether they are a superuser."""
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT id::text, email, plan, is_superuser FROM bazar.users ORDER BY 2").fetchall()


def events(url: str) -> list[tuple[str, str, str, str | None]]:
    """Every audit event: what was done, how it ended, on whom, and why."""
    query = "SELECT use_case, outcome, target_id, reason FROM bazar.audit_events ORDER BY seq"
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


def ran(url: str, pending: list[str]) -> list[tuple[str, str, str, str | None]]:
    """The event of the run that applied these revisions, if there were any."""
    with psycopg.connect(url) as connection:
        return [("db.migrate", "done", connection.info.dbname, None)] if pending else []


@pytest.mark.parametrize("start", ["no database", "plain alembic", ALL[0]])
def test_from_every_start_to_one_superuser(
    start: str, first: On, root: Someone, people: People, fresh_database: Databases, postgres_url: str
) -> None:
    with ExitStack() as stack:
        if start == "no database":
            url = sibling(postgres_url, name := f"t_{secrets.token_hex(6)}")
            stack.callback(drop_database, postgres_url, name)
        else:
            url = fresh_database()
        if start == "plain alembic":
            assert alembic(url, "upgrade", "head").returncode == 0
        elif start in ALL:
            at_revision(url, start)
        bazar = first(url)
        email = bazar.environ["SUPERUSER_EMAIL"].lower()
        other_password = bazar.having(SUPERUSER_EMAIL=root.email)
        if start == "no database":
            assert failed(bazar(*MIGRATE)) == (6, "db.no_database")
            assert failed(other_password("db", "create", "--no-input", *JSON)) == (4, "auth.invalid_credentials")
            assert people.identities(email) == []
            assert bazar("db", "create", "--no-input", *JSON).ok().json["created"] is True
        refused = other_password(*MIGRATE)
        assert failed(refused) == (4, "auth.invalid_credentials")
        assert f"knows {root.email} with another password than SUPERUSER_PASSWORD" in refused.error["message"]
        assert "never changes the password" in refused.error["hint"]

        assert f"{email} would become the first superuser of this Bazar" in bazar(*MIGRATE, "--dry-run").ok().err
        done = bazar(*MIGRATE).ok()
        assert f"{email} is now the first superuser of this Bazar" in done.err
        pending = ALL[ALL.index(start) + 1 :] if start in ALL else [] if start == "plain alembic" else ALL
        assert [r["revision"] for r in done.json["applied"]] == pending
        (identity,) = people.identities(email)
        assert identity["email_confirmed_at"] is not None
        ruled = [(str(identity["id"]), email, "premium", True)]
        told = [*ran(url, pending), ("db.migrate", "done", str(identity["id"]), "bootstrap")]
        assert (users(url), events(url)) == (ruled, told)

        assert bazar(*MIGRATE).ok().json["applied"] == []
        late = bazar.having(SUPERUSER_EMAIL=an_address("late"))
        for words in (MIGRATE, ("db", "create", "--no-input", *JSON)):
            assert failed(late(*words)) == (4, "auth.invalid_credentials"), words
        assert people.identities(late.environ["SUPERUSER_EMAIL"]) == []
        assert people.signs_in(root.email, OLD_PASSWORD)
        assert (users(url), events(url)) == (ruled, told)


@pytest.mark.parametrize("revision", ALL[1:-1])
def test_from_the_tables_of_every_earlier_revision(
    revision: str, first: On, root: Someone, fresh_database: Databases
) -> None:
    url = fresh_database()
    at_revision(url, revision)
    bazar = first(url).having(SUPERUSER_EMAIL=root.email, SUPERUSER_PASSWORD=OLD_PASSWORD)
    pending = ALL[ALL.index(revision) + 1 :]
    assert [r["revision"] for r in bazar("db", "status", *JSON).ok().json["pending"]] == pending
    assert [r["revision"] for r in bazar(*MIGRATE).ok().json["applied"]] == pending
    assert users(url) == [(str(root.id), root.email, "premium", True)]
    assert events(url) == [*ran(url, pending), ("db.migrate", "done", str(root.id), "bootstrap")]


CLOSED = {
    ("users", "list"): "users.list",
    ("users", "create", "eve@example.com"): "users.create",
    ("plans", "grant", "free", "users:delete"): "plans.grant",
    ("audit", "list"): "audit.list",
    ("db", "rollback", "--yes"): "db.rollback",
    ("db", "env", "set", "test", "--unprotected", "--confirm", "x"): "db.env.set",
    ("db", "locks"): "db.locks",
    ("db", "drop", "--confirm", "x"): "db.drop",
}


@pytest.mark.parametrize("migrated", [False, True], ids=["empty", "migrated"])
def test_bootstrap_opens_nothing_else(
    migrated: bool, first: On, root: Someone, people: People, fresh_database: Databases
) -> None:
    url = fresh_database(migrated=migrated)
    with named(first(url), root) as (bazar, _):
        expected = (5, "access.unknown_operator") if migrated else (6, "db.not_migrated")
        hint = "ask a superuser" if migrated else "run `bazar db migrate` as SUPERUSER_EMAIL"
        for words in CLOSED:
            done = bazar(*words, *JSON)
            assert failed(done) == expected, words
            assert hint in done.error["hint"], words
        shown = bazar("db", "env", *JSON)
        assert shown.code == (0 if migrated else 6)
        assert bazar("db", "create", "--no-input", *JSON).ok().json["created"] is False
        assert bazar("db", "current", *JSON).ok().json["revision"] == (ALL[-1] if migrated else None)
    if migrated:
        assert users(url) == []
        assert events(url) == [(u, "denied", e[2], e[3]) for u, e in zip(CLOSED.values(), events(url), strict=True)]
    else:
        assert not has_schema(url)


LOST = ("state = 'suspended'", "pending = 'delete'", "plan = 'plus'")
"""What makes the last superuser none in service."""


def test_without_an_active_superuser_the_address_counts_again(
    first: On, root: Someone, fresh_database: Databases
) -> None:
    url = fresh_database(migrated=True)
    with named(first(url), root) as (bazar, there):
        last = there.superuser()
        assert failed(bazar("db", "status", *JSON)) == (5, "access.unknown_operator")
        for change in LOST:
            there.sql("UPDATE bazar.users SET state = 'active', pending = NULL, plan = 'premium'")
            there.sql(f"UPDATE bazar.users SET {change}")
            bazar("db", "status", *JSON).ok()
        before = there.row(last)
        bazar(*MIGRATE).ok()
        assert there.row(last) == before
        assert (str(root.id), root.email, "premium", True) in users(url)
        assert len(there.events(root.id)) == 1


def test_last_superuser_comes_back_by_the_own_address(
    first: On, root: Someone, people: People, fresh_database: Databases
) -> None:
    url = fresh_database(migrated=True)
    with named(first(url), root) as (bazar, there):
        there.user(email=root.email, superuser=True, plan=Plan.PREMIUM)
        there.sql("UPDATE bazar.users SET id = %s", root.id)
        for change in LOST:
            there.sql(f"UPDATE bazar.users SET {change}")
            lost = there.row(root)
            assert lost is not None
            bazar(*MIGRATE).ok()
            *_, event = there.events(root.id)
            for name, value in {"plan": "premium", "state": "active", "pending": None}.items():
                assert (event["before"][name], event["after"].get(name)) == (lost[name], value), (change, name)
        assert users(url) == [(str(root.id), root.email, "premium", True)]
        there.sql(f"UPDATE bazar.users SET {LOST[0]}")
        people.ban(root)
        known = there.everything()
        assert failed(bazar(*MIGRATE)) == (4, "auth.user_banned")
        assert there.everything() == known


WAYS = {
    "migrate": MIGRATE,
    "dry run": (*MIGRATE, "--dry-run"),
    "login": ("auth", "login", "--email", "SUPERUSER_EMAIL", "--password-stdin", *JSON),
}


def bootstraps(bazar: Bazar, way: str) -> Done:
    words = [bazar.environ.get(word, word) for word in WAYS[way]]
    return bazar(*words, stdin=bazar.environ["SUPERUSER_PASSWORD"] if way == "login" else "")


@pytest.mark.parametrize("way", ["migrate", "login"])
def test_user_whose_identity_is_lost_gets_it_back_with_the_same_id(
    way: str, first: On, people: People, fresh_database: Databases
) -> None:
    url = fresh_database(migrated=True)
    bazar = first(url)
    email = bazar.environ["SUPERUSER_EMAIL"].lower()
    with People(target_of(url)) as there:
        lost = there.user({there.org(): Role.OWNER}, email=email)
        before = row_versions(url)
        bootstraps(bazar, "dry run").ok()
        assert (people.identities(email), row_versions(url)) == ([], before)
        bootstraps(bazar, way).ok()
        assert [identity["id"] for identity in people.identities(email)] == [lost.id]
        assert users(url) == [(str(lost.id), email, "premium", True)]
        assert [(e["operator_id"], e["reason"]) for e in there.events(lost.id)] == [(lost.id, "bootstrap")]
    me = bazar("users", "me", "--no-input", *JSON).ok().json
    assert (me["id"], [o["role"] for o in me["organizations"]]) == (str(lost.id), ["owner"])


@pytest.mark.parametrize("revision", [ALL[0], ALL[-1]])
def test_identity_with_another_id_than_the_row_stops_before_anything_is_done(
    revision: str, first: On, root: Someone, people: People, fresh_database: Databases
) -> None:
    at_revision(url := fresh_database(), revision)
    with named(first(url), root) as (bazar, there):
        row = there.user(email=root.email)
        before = row_versions(url)
        for way in WAYS:
            done = bootstraps(bazar, way)
            assert failed(done) == (6, "users.email_exists"), way
            for part in (root.email, str(root.id), str(row.id)):
                assert part in done.error["message"], way
            assert done.error["details"] == {"postgres_id": str(row.id), "supabase_id": str(root.id)}
            assert "another SUPERUSER_EMAIL" in done.error["hint"]
            assert (row_versions(url), [i["id"] for i in people.identities(root.email)]) == (before, [root.id]), way
            assert bazar("auth", "logout", *JSON).ok().json["was_signed_in"] is False, way
        bazar("db", "status", *JSON).ok()
        # The next step of the hint.
        people.auth("DELETE", f"/admin/users/{root.id}").raise_for_status()
        bootstraps(bazar, "migrate").ok()
        assert [i["id"] for i in people.identities(root.email)] == [row.id]
        assert users(url) == [(str(row.id), root.email, "premium", True)]


def test_reset_takes_the_row_with_another_id_away(first: On, root: Someone, fresh_database: Databases) -> None:
    url = fresh_database(migrated=True)
    with named(first(url), root) as (bazar, there):
        there.user(email=root.email)
        bazar("db", "reset", "--confirm", name_of(url), "--no-input", *JSON).ok()
        assert users(url) == [(str(root.id), root.email, "premium", True)]


def test_id_whose_identity_has_another_address_gets_no_second_one(
    first: On, root: Someone, people: People, fresh_database: Databases
) -> None:
    url = fresh_database(migrated=True)
    bazar = first(url)
    email = bazar.environ["SUPERUSER_EMAIL"].lower()
    with People(target_of(url)) as there:
        there.user(email=email)
        there.sql("UPDATE bazar.users SET id = %s", root.id)
    before = row_versions(url)
    for way in WAYS:
        done = bootstraps(bazar, way)
        assert failed(done) == (6, "users.email_differs"), way
        for part in (email, root.email, str(root.id)):
            assert part in done.error["message"], way
        assert "another SUPERUSER_EMAIL" in done.error["hint"]
        assert (people.identities(email), row_versions(url)) == ([], before), way
    people.auth("PUT", f"/admin/users/{root.id}", {"email": email, "email_confirm": True}).raise_for_status()
    bootstraps(bazar.having(SUPERUSER_PASSWORD=OLD_PASSWORD), "migrate").ok()
    assert users(url) == [(str(root.id), email, "premium", True)]


@pytest.mark.parametrize("hidden", ["the schema", "the rows", "the database", "the search path"])
def test_what_cannot_be_seen_is_not_taken_for_missing(
    hidden: str, first: On, root: Someone, people: People, fresh_database: Databases
) -> None:
    url = fresh_database(migrated=True)
    with ExitStack() as stack:
        bazar, there = stack.enter_context(named(first(url), root))
        there.superuser()
        before = users(url)
        limited = stack.enter_context(limited_role(url, "NOBYPASSRLS"))
        role = urlsplit(limited).username
        expected = (6, "postgres.privilege")
        if hidden == "the schema":
            there.sql(f"REVOKE USAGE ON SCHEMA bazar FROM {role}")
        elif hidden == "the rows":
            there.sql(f"DROP POLICY {role} ON bazar.users")
        elif hidden == "the database":
            there.sql(f"REVOKE CONNECT ON DATABASE {urlsplit(url).path[1:]} FROM PUBLIC")
            expected = (6, "postgres.not_admitted")
        else:
            limited, expected = f"{url}&options=-csearch_path%3Dnowhere", (4, "auth.invalid_credentials")
        late = an_address("late")
        blind = bazar.having(DATABASE_URL=limited, SUPERUSER_EMAIL=late)
        for words in (MIGRATE, ("db", "status", *JSON), ("db", "create", "--no-input", *JSON)):
            assert failed(blind(*words)) == expected, words
        sign_in = ("auth", "login", "--email", late, "--password-stdin", *JSON)
        assert failed(blind(*sign_in, stdin=OLD_PASSWORD)) == expected
        assert people.identities(late) == []
        assert (users(url), events(url)) == (before, [])


def test_empty_database_opens_nothing_of_the_one_to_be_migrated(
    first: On, root: Someone, people: People, fresh_database: Databases
) -> None:
    url, ruled = fresh_database(), fresh_database()
    at_revision(ruled, ALL[0])
    with named(first(ruled), root) as (bazar, there):
        there.superuser()
        before = users(ruled)
        late = an_address("late")
        mixed = bazar.having(DATABASE_URL=url, DATABASE_MIGRATION_URL=ruled, SUPERUSER_EMAIL=late)
        assert failed(mixed(*MIGRATE)) == (6, "db.urls_differ")
        sign_in = ("auth", "login", "--email", late, "--password-stdin", *JSON)
        password = bazar.environ["SUPERUSER_PASSWORD"]
        assert failed(mixed(*sign_in, stdin=password)) == (6, "db.urls_differ")
        assert (people.identities(late), users(ruled), has_schema(url)) == ([], before, False)
        assert there.sql("SELECT version_num FROM bazar.alembic_version") == [{"version_num": ALL[0]}]
        same = bazar.having(DATABASE_URL=url, DATABASE_MIGRATION_URL=f"{url}&application_name=migrations")
        same(*MIGRATE).ok()
        assert users(url) == [(str(root.id), root.email, "premium", True)]
