"""`Migrator`: what is applied and what is pending, one migrator at a time."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import quote

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from psycopg import sql
from sqlalchemy import NullPool, create_engine, text

from bazar_cli.adapters.migrations.migrator import Migrator
from bazar_cli.adapters.migrations.reverter import Reverter
from bazar_cli.adapters.migrations.revision_files import revisions, script_location
from bazar_cli.adapters.migrations.revision_writer import RevisionWriter
from bazar_cli.adapters.postgres.migration_lock import KEY
from bazar_cli.domain.db.migrations import Marker, Migrate, Migrated, refuse_protected
from bazar_cli.domain.errors import BackendUnavailable, Conflict, ExitCode, Refused, UsageError
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import TargetKind, TargetSource
from tests.support.postgres import target_of
from tests.support.release import ADDED, NEXT, Release

ALL = revisions(script_location())
HEAD = ALL[-1].id
LOCAL = Migrate(environment="local", protected=False)
Databases = Callable[..., str]


def migrate(url: str, request: Migrate = LOCAL, notify: Callable[[str], None] = lambda _text: None) -> Migrated:
    return Migrator(target_of(url)).migrate(request, notify)


def tables(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE nspname = 'bazar' AND relkind = 'r' ORDER BY 1"
        ).fetchall()
    return [row[0] for row in rows]


@contextmanager
def lock_held(url: str) -> Generator[int]:
    """Another migrator in the middle of its work; yields the number of its server process."""
    with psycopg.connect(url, autocommit=True, application_name="another migrator") as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (KEY,))
        yield connection.info.backend_pid


# -- status -------------------------------------------------------------------------------------------------


def test_before_everything_is_pending(fresh_database: Databases) -> None:
    url = fresh_database()

    status = Migrator(target_of(url)).status()

    assert (status.current, status.head, status.unknown) == (None, HEAD, False)
    assert (status.applied, status.pending) == ((), ALL)
    assert status.place.marker is None
    assert status.place.database in url
    assert tables(url) == []


@pytest.mark.parametrize("which", [0, 1])
def test_hint_for_a_role_that_may_not_make_the_schema_helps(fresh_database: Databases, which: int) -> None:
    """Each of its two statements, pasted as it is, lets the role migrate."""
    url, role = fresh_database(), f'O"dd-{secrets.token_hex(4)}'
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
        try:
            limited = f"{url}{'&' if '?' in url else '?'}options={quote(f'-crole={role}')}"
            with pytest.raises(Conflict) as refused:
                migrate(limited)
            assert refused.value.code == "postgres.privilege"
            statements = refused.value.hint.split("`")[1::2]
            assert len(statements) == 2
            owner.execute(statements[which].encode())
            assert len(migrate(limited).applied) == len(ALL)
        finally:
            owner.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
            owner.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_after_everything_is_applied(fresh_database: Databases) -> None:
    url = fresh_database()
    migrate(url)

    status = Migrator(target_of(url)).status()

    assert (status.current, status.head, status.unknown) == (HEAD, HEAD, False)
    assert (status.applied, status.pending) == (ALL, ())
    assert status.place.marker == Marker("local", protected=False)


def test_a_revision_of_a_newer_release_is_unknown_and_left_alone(fresh_database: Databases) -> None:
    url = fresh_database(migrated=True)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE bazar.alembic_version SET version_num = '9999'")

    status = Migrator(target_of(url)).status()
    with pytest.raises(Conflict) as conflict:
        migrate(url)

    assert (status.unknown, status.current, status.applied, status.pending) == (True, "9999", (), ())
    assert (conflict.value.code, conflict.value.details["current"]) == ("db.unknown_revision", "9999")


def test_a_server_that_does_not_answer_is_unavailable() -> None:
    target = target_of("postgresql://nobody@127.0.0.1:1/nothing")

    with pytest.raises(BackendUnavailable) as unavailable:
        Migrator(target).status()

    assert unavailable.value.exit_code is ExitCode.UNAVAILABLE
    assert "127.0.0.1:1/nothing" in unavailable.value.message


# -- migrate ------------------------------------------------------------------------------------------------


def test_migrating_says_what_it_applied(fresh_database: Databases) -> None:
    url, told = fresh_database(), list[str]()

    result = migrate(url, notify=told.append)

    assert [applied.revision for applied in result.applied] == list(ALL)
    assert (result.current, result.pending, result.holder, result.waited_ms) == (HEAD, (), None, 0)
    assert told == [f"Applying {revision.id}: {revision.message}" for revision in ALL]
    assert "users" in tables(url)


def test_migrating_again_applies_nothing(fresh_database: Databases) -> None:
    url = fresh_database()
    migrate(url)

    assert migrate(url).applied == ()


def test_four_migrators_at_once_apply_every_revision_once(fresh_database: Databases) -> None:
    url = fresh_database()
    start = threading.Barrier(4)

    def run(_number: int) -> Migrated:
        start.wait()
        return migrate(url)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(run, range(4)))

    assert [applied.revision for result in results for applied in result.applied] == list(ALL)
    assert {result.current for result in results} == {HEAD}
    with psycopg.connect(url) as connection:
        marks = connection.execute("SELECT count(*) FROM bazar.deployment").fetchall()
    assert marks == [(1,)]


@pytest.mark.parametrize("request_", [replace(LOCAL, steps=1), replace(LOCAL, revision=ALL[0].id)])
def test_a_part_can_be_applied(fresh_database: Databases, request_: Migrate) -> None:
    result = migrate(fresh_database(), request_)

    assert [applied.revision for applied in result.applied] == [ALL[0]]
    assert (result.current, [r.id for r in result.pending]) == (ALL[0].id, [r.id for r in ALL[1:]])


def test_head_names_the_last_revision(fresh_database: Databases) -> None:
    assert migrate(fresh_database(), replace(LOCAL, revision="head")).current == HEAD


def test_a_revision_that_is_not_there_is_refused_with_those_that_are(fresh_database: Databases) -> None:
    url = fresh_database()

    with pytest.raises(UsageError) as refused:
        migrate(url, replace(LOCAL, revision="0815"))

    assert refused.value.code == "db.no_such_revision"
    assert HEAD in refused.value.hint
    assert tables(url) == []


def test_a_transaction_pooler_is_refused(fresh_database: Databases) -> None:
    pooled = target_of("postgresql://u@127.0.0.1:6543/postgres")

    with pytest.raises(Refused) as refused:
        Migrator(pooled).migrate(LOCAL, lambda _text: None)

    assert refused.value.code == "db.transaction_pooler"
    assert "DATABASE_MIGRATION_URL" in f"{refused.value.message} {refused.value.hint}"


def test_migrations_go_over_their_own_url(fresh_database: Databases) -> None:
    url = fresh_database()
    target = replace(target_of("postgresql://u@127.0.0.1:6543/postgres"), migration_url=Secret(url))

    Migrator(target).migrate(LOCAL, lambda _text: None)

    assert "users" in tables(url)


def test_a_connection_in_a_transaction_loses_nothing(fresh_database: Databases) -> None:
    url = fresh_database()
    config = Config()
    config.set_main_option("script_location", str(script_location()))
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1), poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE public.of_the_caller (id int)"))
        assert connection.in_transaction()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    assert Migrator(target_of(url)).status().current == HEAD
    with psycopg.connect(url) as other:
        other.execute("SELECT id FROM public.of_the_caller")


# -- the marker ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "request_", "marker"),
    [
        ("environment", Migrate(), Marker("production", protected=True)),
        ("local", Migrate(), Marker("local", protected=False)),
        ("environment", Migrate(environment="staging"), Marker("staging", protected=True)),
        ("environment", Migrate(environment="local"), Marker("local", protected=False)),
        ("environment", Migrate(protected=False), Marker("production", protected=False)),
        ("local", Migrate(environment="production"), Marker("production", protected=True)),
        ("environment", Migrate(environment="it's 100%", protected=False), Marker("it's 100%", protected=False)),
    ],
)
def test_an_empty_database_is_marked(fresh_database: Databases, source: str, request_: Migrate, marker: Marker) -> None:
    target = replace(target_of(fresh_database()), source=TargetSource(TargetKind.PROFILE, source))

    result = Migrator(target).migrate(request_, lambda _text: None)

    assert result.place.marker == marker


def test_a_marker_that_is_there_stays(fresh_database: Databases) -> None:
    url = fresh_database()
    migrate(url, Migrate(environment="staging", protected=True))

    migrate(url, Migrate(environment="local", protected=False))

    assert Migrator(target_of(url)).status().place.marker == Marker("staging", protected=True)


# -- the plan -----------------------------------------------------------------------------------------------


def test_a_plan_names_what_is_pending_and_writes_nothing(fresh_database: Databases) -> None:
    url = fresh_database()

    plan = Migrator(target_of(url)).plan(Migrate())

    assert (plan.current, plan.head, plan.applied) == (None, HEAD, ())
    assert plan.pending == ALL
    assert "CREATE TABLE bazar.users" in (plan.sql or "")
    assert tables(url) == []


def test_a_plan_at_the_head_is_empty(fresh_database: Databases) -> None:
    plan = Migrator(target_of(fresh_database(migrated=True))).plan(Migrate(sql=True))

    assert (plan.pending, plan.sql) == ((), "")


def test_the_sql_of_a_plan_does_what_migrating_does(fresh_database: Databases) -> None:
    by_hand, by_bazar = fresh_database(), fresh_database(migrated=True)

    sql = Migrator(target_of(by_hand)).plan(Migrate(sql=True)).sql

    assert sql is not None
    with psycopg.connect(by_hand, autocommit=True) as connection:
        connection.execute(sql.encode())
    assert tables(by_hand) == tables(by_bazar)
    assert Migrator(target_of(by_hand)).status().current == HEAD


def test_what_a_revision_deletes_is_what_its_file_declares(fresh_database: Databases, release: Release) -> None:
    url = fresh_database(migrated=True)
    drop = "op.drop_column('deployment', 'created_at', schema='bazar')"
    up = "op.execute(\"COMMENT ON TABLE bazar.users IS 'x'\")"
    release.add(NEXT, up, drop, "downgrade_loses: tuple[str, ...] = ('bazar.deployment.created_at',)")
    release.add(ADDED[1], drop, "op.execute('SELECT 1')", "destructive: bool = True")
    release.add(ADDED[2], "op.execute(f\"SELECT {op.get_bind().exec_driver_sql('SELECT 1').scalar_one()}\")")
    migrator = Migrator(target_of(url))

    seen = [(r.id, r.destructive) for r in migrator.status().pending]

    assert seen == [(NEXT, False), (ADDED[1], True), (ADDED[2], False)]
    plan = migrator.plan(Migrate(ADDED[1]))
    assert [(r.id, r.destructive) for r in plan.would_apply or ()] == seen[:2]
    assert [(r.id, r.destructive) for r in plan.pending] == seen
    with pytest.raises(Conflict) as unknown:
        migrator.plan(Migrate())
    assert (unknown.value.code, unknown.value.details) == ("db.revision_needs_data", {"revision": ADDED[2]})
    part = migrator.migrate(Migrate(ADDED[1]), lambda _text: None)
    assert [(r.id, r.destructive) for r in part.pending] == seen[2:]

    reverter = Reverter(target_of(url))
    back = reverter.preview(reverter.status(), reverter.chosen(reverter.status(), None, ALL[1].id))

    seen = [(r.id, r.destructive) for r in back.would_revert]
    assert seen[:2] == [(ADDED[1], False), (NEXT, True)]
    assert seen[-2:] == [("0004", True), ("0003", False)]
    assert {table.name.removeprefix("bazar.") for table in back.lost_tables} == {
        "idempotency_keys",
        "import_rows",
        "import_runs",
        "migration_log",
    }
    assert set(back.lost_columns) == {
        "bazar.deployment.created_at",
        "bazar.import_rows.chosen_id",
        "bazar.import_runs.undone_at",
    }


@pytest.mark.parametrize(
    ("head", "why"),
    [
        ("import nosuchmodule", "ModuleNotFoundError: No module named 'nosuchmodule'"),
        ("raise RuntimeError('not now\\nnor later')", "RuntimeError: not now"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("del revision", "AttributeError"),
        ("depends_on = 'nosuch'", "nosuch"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_named_before_anything_starts(
    fresh_database: Databases, release: Release, head: str, why: str
) -> None:
    url, told = fresh_database(migrated=True), list[str]()
    release.add(NEXT, "op.execute('SELECT 1')")
    path = release.add(ADDED[1], "pass", head=head)
    migrator, reverter = Migrator(target_of(url)), Reverter(target_of(url))
    status = migrator.status()

    for act in (
        lambda: migrate(url, notify=told.append),
        lambda: migrate(url, Migrate(NEXT), told.append),
        lambda: migrator.plan(Migrate()),
        lambda: reverter.preview(status, reverter.chosen(status, 1, None)),
        lambda: RevisionWriter(release.migrations).add("next", dry_run=False),
    ):
        with pytest.raises(Conflict) as failed:
            act()
        assert failed.value.code == "db.revision_unreadable"
        assert why in failed.value.message
        assert failed.value.details == {"file": "versions" if "depends_on" in head else path.name}

    assert (migrator.status(), told) == (status, [])


# -- one at a time ------------------------------------------------------------------------------------------


def test_migration_that_finds_the_lock_held_names_the_holder_and_applies_nothing(fresh_database: Databases) -> None:
    url = fresh_database()

    with lock_held(url) as pid, pytest.raises(BackendUnavailable) as waited:
        migrate(url, replace(LOCAL, lock_wait=0))

    assert waited.value.code == "db.lock_timeout"
    assert f"pid {pid} (another migrator" in waited.value.message
    assert waited.value.exit_code is ExitCode.UNAVAILABLE
    assert tables(url) == []


def test_waiting_migration_starts_when_the_lock_is_free(fresh_database: Databases) -> None:
    url, waiting = fresh_database(), threading.Event()

    def heard(text: str) -> None:
        if "another migrator" in text:
            waiting.set()

    with ThreadPoolExecutor(1) as pool:
        with lock_held(url):
            running = pool.submit(migrate, url, LOCAL, heard)
            waiting.wait()
        result = running.result()

    assert (result.current, len(result.applied)) == (HEAD, len(ALL))
    assert result.holder is not None
    assert "another migrator" in result.holder
    assert result.waited_ms > 0


def test_at_the_head_the_lock_is_not_needed(fresh_database: Databases) -> None:
    url = fresh_database(migrated=True)

    with lock_held(url):
        result = migrate(url, replace(LOCAL, lock_wait=0))

    assert result.applied == ()


def test_the_lock_is_free_after_migrating(fresh_database: Databases) -> None:
    url = fresh_database()
    migrate(url)

    with psycopg.connect(url) as connection:
        [taken] = connection.execute("SELECT pg_try_advisory_lock(%s)", (KEY,)).fetchall()

    assert taken == (True,)


# -- the way back -------------------------------------------------------------------------------------------


def test_database_whose_revision_changed_is_not_rolled_back(fresh_database: Databases) -> None:
    url = fresh_database(migrated=True)
    reverter = Reverter(target_of(url))
    seen = reverter.preview(reverter.status(), reverter.chosen(reverter.status(), 2, None))
    reverter.revert(
        reverter.preview(reverter.status(), reverter.chosen(reverter.status(), 1, None)),
        lambda _status: None,
        lambda _text: None,
        again=False,
    )

    with pytest.raises(Conflict) as moved:
        reverter.revert(seen, lambda _status: None, lambda _text: None, again=False)

    assert moved.value.code == "db.moved"
    assert reverter.status().current == ALL[-2].id


def test_the_marker_is_read_again_under_the_lock(fresh_database: Databases) -> None:
    url = fresh_database(migrated=True)
    reverter = Reverter(target_of(url))
    seen = reverter.preview(reverter.status(), reverter.chosen(reverter.status(), 1, None))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE bazar.deployment SET protected = true")

    with pytest.raises(Refused) as refused:
        reverter.revert(
            seen,
            lambda status: refuse_protected(status, "rolling back", embedded=False),
            lambda _text: None,
            again=False,
        )

    assert refused.value.code == "db.protected"
    assert reverter.status().current == HEAD


def test_a_database_of_the_embedded_stack_without_marker_is_not_protected(fresh_database: Databases) -> None:
    url = fresh_database(migrated=True)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DELETE FROM bazar.deployment")
    status = Migrator(target_of(url)).status()

    refuse_protected(status, "rolling back", embedded=True)
    with pytest.raises(Refused):
        refuse_protected(status, "rolling back", embedded=False)
