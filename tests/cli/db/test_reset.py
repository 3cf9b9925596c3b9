"""`bazar db reset`: consent, what is said, and a process that ends in the middle."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from bazar_cli.adapters.migrations.revision_files import revisions, script_location
from bazar_cli.domain.demo.data import DEMO
from bazar_cli.domain.target import Target
from tests.cli.auth.support import Terminal
from tests.cli.db.conftest import On, as_ruler, has_schema, marker_of, people_apart, schema_of
from tests.support.auth_proxy import Fault, auth_proxy
from tests.support.cli import Bazar
from tests.support.people import People, Someone, an_address
from tests.support.postgres import create_database, drop_database, name_of, sibling
from tests.support.release import NEXT, Release
from tests.support.row_versions import row_versions
from tests.support.waiting import poll

Databases = Callable[..., str]
ALL = [r.id for r in revisions(script_location())]
HEAD = ALL[-1]
JSON = ("-o", "json")


def ask(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def here(nobody: Bazar, target: Target, fresh_database: Databases) -> tuple[Bazar, str]:
    """`bazar` signed in as the superuser of an unprotected database at the head."""
    url = fresh_database(migrated=True)
    with people_apart(target, url) as apart:
        return as_ruler(nobody, apart), url


def test_rows_are_deleted_and_the_result_lists_them(here: tuple[Bazar, str], tmp_path: Path) -> None:
    bazar, url = here
    summary = tmp_path / "summary.md"
    before = schema_of(url)
    ask(url, "INSERT INTO bazar.users (id, email) VALUES (gen_random_uuid(), 'a@example.com')")
    there = bazar.having(GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))

    done = there("db", "reset", "--identities", "--confirm", name_of(url), *JSON).ok()

    result = done.json
    assert (result["previous"], result["current"], result["head"]) == (HEAD, HEAD, HEAD)
    assert (result["applied"], result["pending"]) == ([], [])
    assert {"table": "bazar.users", "rows": 2} in result["lost_tables"]
    assert (result["left_alone"], result["recreated"], result["identities"]) == ([], [], 0)
    assert (result["audit"], result["marker"]) == (
        {"events": 0, "head": None},
        {"environment": "local", "protected": False},
    )
    assert f"Emptying {len(result['lost_tables'])} tables" in done.err
    assert "| emptied bazar.users | 2 rows |" in summary.read_text()
    assert "| identities | 0 deleted at Supabase |" in summary.read_text()
    assert schema_of(url) == before
    assert [u["email"] for u in bazar("users", "list", *JSON).ok().json["items"]] == [result["superuser"]]
    bazar("audit", "verify").ok()
    bazar("db", "status", "--check").ok()


def test_without_the_name_nothing_is_done_and_the_error_lists_what_is_deleted(here: tuple[Bazar, str]) -> None:
    bazar, url = here
    before = row_versions(url)
    for words in ((), ("--yes", "--no-input", "--quiet"), ("--confirm", "another"), ("--confirm", "")):
        refused = bazar("db", "reset", "--identities", *words, *JSON)
        assert (refused.code, refused.out, refused.error["code"]) == (10, "", "db.confirm_mismatch"), words
        assert f"`bazar db reset --identities --confirm {name_of(url)}`" in refused.error["hint"]
        for part in (
            name_of(url),
            "local, unprotected",
            "It empties",
            "bazar.users (1 row)",
            "audit log of 0 events",
            ". The marker is kept. ",
            " is the only superuser afterwards",
        ):
            assert part in refused.error["message"]
        assert "last hash" not in refused.error["message"]
        lost = refused.error["details"]["lost_tables"]
        assert {"table": "bazar.users", "rows": 1} in lost
        assert not {"bazar.migration_log", "bazar.deployment", "bazar.alembic_version"} & {t["table"] for t in lost}
    dry = bazar("db", "reset", "--dry-run", *JSON).ok()
    assert (dry.json["pending"], dry.json["applied"]) == ([], [])
    assert bazar("db", "reset", "--dry-run", "--confirm", "another", *JSON).code == 10
    assert row_versions(url) == before


def test_at_a_terminal_the_name_is_typed(here: tuple[Bazar, str]) -> None:
    bazar, url = here
    question = f"Type {name_of(url)} to do it: "
    before = row_versions(url)
    for typed, code in (("yes", 10), ("", 10), (name_of(url), 0)):
        assert row_versions(url) == before
        with Terminal(bazar, "db", "reset", "--yes", "--quiet") as terminal:
            terminal.answer(question, typed)
            assert terminal.end() == code
        assert "bazar.users (1 row)" in terminal.seen
    assert row_versions(url) != before


@pytest.mark.parametrize("state", ["protected", "unmarked", "copied"])
def test_protected_database_refuses_whatever_is_given(here: tuple[Bazar, str], state: str) -> None:
    bazar, url = here
    unmarked = "DELETE FROM bazar.deployment; DROP TABLE bazar.alembic_version"
    ask(url, unmarked if state == "unmarked" else "UPDATE bazar.deployment SET protected = true")
    name = f"{name_of(url)}_copy"
    try:
        if state == "copied":
            url = create_database(sibling(url, "postgres"), name, name_of(url))
            bazar = bazar.having(DATABASE_URL=url)
        before = row_versions(url)
        right = ("--confirm", name_of(url))
        for words in ((*right, "--yes"), (), ("--dry-run",), (*right, "--identities", "--no-input")):
            refused = bazar("db", "reset", *words, *JSON)
            code = "db.unmarked" if state == "unmarked" else "db.protected"
            assert (refused.code, refused.out, refused.error["code"]) == (10, "", code), words
        assert row_versions(url) == before
    finally:
        drop_database(sibling(url, "postgres"), name)


def test_empty_database_ends_migrated(first: On, fresh_database: Databases) -> None:
    url = fresh_database()
    bazar = first(url)
    assert bazar("db", "reset", "--confirm", "another", *JSON).code == 10
    assert bazar("db", "reset", "--dry-run", *JSON).ok().json["current"] is None
    assert not has_schema(url)
    done = bazar("db", "reset", *JSON).ok()
    assert (done.json["previous"], done.json["current"], done.json["lost_tables"]) == (None, HEAD, [])
    assert marker_of(url) == ("production", True)
    assert bazar("users", "me", *JSON).ok().json["is_superuser"]
    assert bazar("db", "reset", *JSON).error["code"] == "db.protected"


@pytest.mark.usefixtures("without_demo")
@pytest.mark.parametrize("view", [True, pytest.param(False, marks=pytest.mark.long)])
def test_bootstrap_resets_a_database_without_superuser(
    first: On, fresh_database: Databases, tmp_path: Path, view: bool
) -> None:
    url = fresh_database()
    Release(tmp_path / "release").alembic(url, "upgrade", "head").ok()
    ask(url, "UPDATE bazar.deployment SET protected = false")
    ask(url, "INSERT INTO bazar.users (id, email, name) VALUES (gen_random_uuid(), 'a@example.com', 'Ada')")
    if not view:
        ask(url, "DROP VIEW bazar.operators")
    bazar = first(url)
    before = row_versions(url)
    bazar("db", "reset", "--seed", "--dry-run", *JSON).ok()
    assert row_versions(url) == before
    done = bazar("db", "reset", "--seed", "--identities", "--confirm", name_of(url), *JSON).ok().json
    me = bazar("users", "me", *JSON).ok().json
    assert (me["email"], me["plan"], me["is_superuser"]) == (bazar.environ["SUPERUSER_EMAIL"].lower(), "premium", True)
    assert done["seeded"]["created"] == len(DEMO.users)
    assert ask(url, "SELECT count(*) FROM bazar.users") == [(1 + len(DEMO.users),)]
    assert marker_of(url) == ("production", False)

    # That superuser may also reset a database whose view of operators is missing.
    ask(url, "DROP VIEW bazar.operators")
    bazar("db", "reset", "--confirm", name_of(url), *JSON).ok()
    assert bazar("users", "me", *JSON).ok().json["id"] == me["id"]


@pytest.mark.usefixtures("without_demo")
def test_demo_data_follows_and_the_next_time_takes_its_identities_back(here: tuple[Bazar, str]) -> None:
    bazar, url = here
    words = ("db", "reset", "--seed", "--confirm", name_of(url))
    asked = bazar("db", "reset", "--seed", *JSON)
    assert (asked.code, asked.error["code"]) == (10, "db.confirm_mismatch")
    assert f"`bazar db reset --seed --confirm {name_of(url)}`" in asked.error["hint"]
    assert "Then the demo data is made" in asked.error["message"]
    assert bazar(*words, "--dry-run", *JSON).ok().json["seeded"] is None
    assert bazar.having(BAZAR_SEED_PASSWORD="short")(*words, *JSON).code == 2
    assert ask(url, "SELECT count(*) FROM bazar.users") == [(1,)]

    first = bazar(*words, *JSON).ok().json["seeded"]
    second = bazar(*words, *JSON).ok()
    stay = f"{len(DEMO.users)} identities that this Bazar created stay at Supabase: `bazar users adopt EMAIL`"
    assert stay in second.err
    again = second.json["seeded"]
    users = [{u["id"] for u in done["users"]} for done in (first, again)]
    assert (first["created"], first["taken_back"]) == (len(users[0]), 0)
    assert (again["created"], again["taken_back"]) == (0, len(users[0]))
    assert users[0] == users[1]
    cleared = bazar(*words, "--identities", *JSON).ok().json
    assert (cleared["identities"], cleared["seeded"]["created"]) == (len(users[0]), len(users[0]))
    assert ask(url, "SELECT count(*) FROM bazar.users") == [(len(users[0]) + 1,)]
    assert bazar("db", "seed", "--yes", *JSON).ok().json["existing"] == len(users[0])


def test_user_taken_in_again_after_a_reset_is_still_one_that_was_created(here: tuple[Bazar, str]) -> None:
    bazar, url = here
    words = ("db", "reset", "--confirm", name_of(url))
    email = an_address("ada")
    created = bazar("users", "create", email, *JSON).ok().json
    stays = "1 identity that this Bazar created stays at Supabase: `bazar users adopt EMAIL`"
    assert stays in bazar(*words, *JSON).ok().err
    assert bazar("users", "create", email, *JSON).error["code"] == "users.email_at_supabase"
    assert bazar("users", "adopt", email, *JSON).ok().json["id"] == created["id"]
    assert stays in bazar(*words, *JSON).ok().err
    [orphans] = [c for c in bazar("doctor", *JSON).json["items"] if c["check"] == "identities-without-user"]
    assert (orphans["count"], "`bazar users adopt EMAIL`" in orphans["remedy"]) == (1, True)
    bazar("users", "adopt", email).ok()
    assert bazar(*words, "--identities", *JSON).ok().json["identities"] == 1


@pytest.mark.usefixtures("without_demo")
def test_demo_data_that_cannot_be_made_keeps_the_tables(here: tuple[Bazar, str], people: People) -> None:
    bazar, url = here
    first = Someone(uuid.uuid4(), DEMO.users[0].email)
    people.identity(first)
    # A row that goes is no reason to leave its identity to the demo data, which would find it without.
    ask(url, f"INSERT INTO bazar.users (id, email) VALUES ('{first.id}', '{first.email}')")
    before = row_versions(url)
    for words in (("--confirm", name_of(url)), ("--dry-run",)):
        done = bazar("db", "reset", "--seed", *words, *JSON)
        assert (done.code, done.out, done.error["code"]) == (6, "", "seed.identity_taken"), words
        assert row_versions(url) == before


@pytest.mark.usefixtures("without_demo")
def test_deleted_user_leaves_its_address_to_the_demo_data(here: tuple[Bazar, str], people: People) -> None:
    bazar, url = here
    ((deployment,),) = ask(url, "SELECT id::text FROM bazar.deployment")
    first = Someone(uuid.uuid4(), DEMO.users[0].email)
    people.identity(first, app_metadata={"bazar": {"deployment": deployment, "origin": "created"}})
    ask(url, f"INSERT INTO bazar.users (id, email) VALUES ('{first.id}', 'moved@example.com')")
    assert bazar("db", "seed", "--dry-run", *JSON).error["code"] == "seed.identity_taken"
    dry = bazar("db", "reset", "--seed", "--dry-run", *JSON).ok()
    assert "dry run: nothing was written" in dry.err
    done = bazar("db", "reset", "--seed", "--confirm", name_of(url), *JSON).ok().json["seeded"]
    assert done["taken_back"] == 1


def test_demo_data_on_an_empty_database_is_refused_before_it_is_made(first: On, fresh_database: Databases) -> None:
    url = fresh_database()
    refused = first(url)("db", "reset", "--seed", *JSON)
    assert (refused.code, refused.error["code"]) == (10, "db.protected")
    assert "bazar db migrate --env test --unprotected" in refused.error["hint"]
    assert ask(url, "SELECT to_regnamespace('bazar') IS NULL") == [(True,)]


_SLEEP = """op.execute("SELECT pg_sleep(seconds) FROM public.pace WHERE at = 'revision'")"""


@pytest.mark.parametrize("at", ["revision", "foreign key", pytest.param("lock", marks=pytest.mark.long)])
def test_killed_in_the_middle_nothing_is_changed(here: tuple[Bazar, str], tmp_path: Path, at: str) -> None:
    bazar, url = here
    release = Release(tmp_path / "release")
    release.add(NEXT, _SLEEP)
    ask(url, "CREATE TABLE public.pace (at text, seconds int); INSERT INTO public.pace VALUES ('revision', 0)")
    if at == "foreign key":
        release.on(bazar)("db", "migrate").ok()
        ask(url, "CREATE TABLE public.files (owner_id uuid REFERENCES bazar.users)")
    ask(url, f"UPDATE public.pace SET seconds = 600 WHERE at = '{at}'")
    before = row_versions(url)

    with psycopg.connect(url) as reader:
        if at != "revision":
            reader.execute("SELECT FROM bazar.users" if at == "lock" else "SELECT FROM public.files")
        process = release.on(bazar).start("db", "reset", "--confirm", name_of(url))
        begun = {"lock": "LOCK TABLE%", "revision": "%pg_sleep%", "foreign key": "ALTER TABLE public.files%"}[at]
        poll(lambda: ask(url, _ACTIVE.format(begun)) or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        poll(lambda: not ask(url, _ACTIVE.format("%")))
        reader.rollback()

    assert row_versions(url) == before
    ask(url, "UPDATE public.pace SET seconds = 0")
    release.on(bazar)("db", "reset", "--confirm", name_of(url)).ok()
    assert ask(url, "SELECT version_num FROM bazar.alembic_version") == [(NEXT,)]


_ACTIVE = (
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'bazar db reset' AND datname = current_database()"
    " AND ltrim(query) LIKE '{}'"
)


@pytest.mark.parametrize(("nth", "arrives"), [(1, False), (2, True)], ids=["before Supabase acted", "after it did"])
def test_killed_while_identities_are_deleted_the_next_run_finishes(
    here: tuple[Bazar, str], people: People, nth: int, arrives: bool
) -> None:
    bazar, url = here
    emails = [an_address("goes") for _ in range(3)]
    for email in emails:
        bazar("users", "create", email, *JSON).ok()
    adopted = Someone(uuid.uuid4(), an_address("adopted"))
    people.identity(adopted)
    bazar("users", "adopt", adopted.email, *JSON).ok()
    before = row_versions(url)
    words = ("db", "reset", "--identities", "--confirm", name_of(url), *JSON)

    def left() -> int:
        return sum(len(people.identities(email)) for email in emails)

    with auth_proxy(people.target) as proxy:
        for _ in range(nth - 1):
            proxy.add(Fault("DELETE", "/admin/users/.*", passes=True))
        hold = proxy.hold("DELETE", "/admin/users/.*", acts=arrives)
        assert hold.held is not None
        with bazar.having(SUPABASE_URL=proxy.target.supabase_url).start(*words) as process:
            assert hold.held.wait(60)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
    assert left() == (gone := len(emails) - nth + (not arrives))
    assert row_versions(url) == before

    done = bazar(*words).ok().json
    assert (done["identities"], left()) == (gone, 0)
    assert len(people.identities(adopted.email)) == 1
    assert ask(url, "SELECT email FROM bazar.users") == [(done["superuser"],)]
    told = "SELECT use_case, outcome, (after ->> 'identities_deleted')::int FROM bazar.audit_events"
    assert ask(url, told) == [("db.reset", "done", gone)]
    assert [u["email"] for u in bazar("users", "list", *JSON).ok().json["items"]] == [done["superuser"]]
    bazar("audit", "verify").ok()
