"""Migrations that are cut off, blocked or broken in the middle: what is left, and what running again does."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from bazar_cli.adapters.migrations import blockers, session
from bazar_cli.adapters.migrations.migrator import Migrator
from bazar_cli.adapters.postgres.migration_lock import KEY
from bazar_cli.domain.calls import Calls, TraceContext
from bazar_cli.domain.db.migrations import Migrate, Migrated
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, ExitCode, UsageError
from bazar_cli.domain.secrets import Secret
from tests.support.postgres import ScratchPostgres, target_of
from tests.support.release import ADDED, HEAD, NEXT, Release
from tests.support.waiting import poll

Databases = Callable[..., str]
WRITES = "ROW EXCLUSIVE"
IMPATIENT = Migrate(lock_timeout=0.2, lock_wait=10)


def migrate(url: str, request: Migrate = IMPATIENT, notify: Callable[[str], None] = lambda _text: None) -> Migrated:
    return Migrator(target_of(url)).migrate(request, notify)


def ask(url: str, query: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode(), values)
        return cursor.fetchall() if cursor.description else []


def revision_of(url: str) -> str:
    return str(ask(url, "SELECT version_num FROM bazar.alembic_version")[0][0])


def validity(url: str, index: str) -> list[bool]:
    rows = ask(url, "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", f"bazar.{index}")
    return [row[0] for row in rows]


def answers(url: str) -> bool:
    try:
        return bool(ask(url, "SELECT true"))
    except psycopg.OperationalError:
        return False


def lock_is_free(url: str) -> bool:
    with psycopg.connect(url, autocommit=True) as connection:
        [(taken,)] = connection.execute("SELECT pg_try_advisory_lock(%s)", (KEY,)).fetchall()
    return bool(taken)


def running(url: str, statement: str) -> list[int]:
    """The server processes that run a statement which begins so."""
    query = (
        "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND ltrim(query) ILIKE %s AND pid <> pg_backend_pid()"
    )
    return [pid for (pid,) in ask(url, query + " AND datname = current_database()", f"{statement}%")]


@contextmanager
def report(url: str, mode: str = "ACCESS SHARE") -> Generator[psycopg.Connection]:
    """A transaction that read or wrote the users and is still open."""
    with psycopg.connect(url, application_name="a long report") as connection:
        connection.execute(f"LOCK TABLE bazar.users IN {mode} MODE".encode())
        yield connection
        connection.rollback()


@contextmanager
def in_background(url: str, request: Migrate = IMPATIENT) -> Generator[Future[Migrated]]:
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(migrate, url, request)


# -- a revision fails ---------------------------------------------------------------------------------------


def test_revisions_before_the_one_that_fails_stay_and_the_next_run_goes_on(
    fresh_database: Databases, release: Release
) -> None:
    url = fresh_database(migrated=True)
    release.add(NEXT, "op.execute('CREATE TABLE bazar.first (id int)')")
    release.add(ADDED[1], "op.execute('CREATE TABLE bazar.second (id int)')\nop.execute('SELECT 1 / 0')")
    release.add(ADDED[2], "op.execute('CREATE TABLE bazar.third (id int)')")

    with pytest.raises(Conflict) as failed:
        migrate(url)

    assert failed.value.code == "db.revision_failed"
    assert failed.value.details == {"revision": ADDED[1], "sqlstate": "22012", "applied": [NEXT]}
    assert revision_of(url) == NEXT
    made = "SELECT to_regclass('bazar.first') IS NULL, to_regclass('bazar.second') IS NULL"
    assert ask(url, made) == [(False, True)]
    assert lock_is_free(url)

    release.rewrite(release.file(ADDED[1]), "1 / 0", "1 / 1")
    done = migrate(url)
    assert [a.revision.id for a in done.applied] == [ADDED[1], ADDED[2]]


def test_a_run_that_fails_has_closed_the_table_of_alembic(fresh_database: Databases, release: Release) -> None:
    url = fresh_database()
    release.add(NEXT, "op.execute('SELECT 1 / 0')")
    with pytest.raises(Conflict) as failed:
        migrate(url)
    assert failed.value.details["applied"] == release.revisions[:-1]
    assert ask(url, "SELECT relrowsecurity FROM pg_class WHERE oid = 'bazar.alembic_version'::regclass") == [(True,)]


@pytest.mark.parametrize("error", ["RuntimeError('boom')", "KeyError('boom')"])
def test_error_raised_by_a_revision_names_the_revision(fresh_database: Databases, release: Release, error: str) -> None:
    url = fresh_database(migrated=True)
    release.add(NEXT, "op.execute('CREATE TABLE bazar.first (id int)')")
    release.add(ADDED[1], f"op.execute('CREATE TABLE bazar.second (id int)')\nraise {error}")
    with pytest.raises(Conflict) as failed:
        migrate(url)
    assert (failed.value.code, failed.value.details["applied"]) == ("db.revision_failed", [NEXT])
    assert failed.value.details["revision"] == ADDED[1]
    assert error.partition("(")[0] in failed.value.message
    assert ask(url, "SELECT to_regclass('bazar.first') IS NULL, to_regclass('bazar.second') IS NULL") == [(False, True)]
    assert lock_is_free(url)


def test_failed_revision_has_the_message_of_postgres(fresh_database: Databases, release: Release) -> None:
    url = fresh_database(migrated=True)
    release.add(NEXT, "op.execute('DROP TABLE bazar.organizations')")
    with pytest.raises(Conflict) as failed:
        migrate(url)
    assert failed.value.code == "db.revision_failed"
    assert "other objects depend on it (constraint memberships_organization_id_fkey" in failed.value.message
    assert "\n" not in failed.value.message
    assert failed.value.hint.startswith("Use DROP ... CASCADE to drop the dependent objects too; correct the cause")


@pytest.mark.parametrize("where", ["before", "after"])
def test_error_outside_of_revisions_is_not_blamed_on_one(
    fresh_database: Databases, release: Release, where: str
) -> None:
    url = fresh_database(migrated=True)
    release.add(NEXT, "op.execute('CREATE TABLE bazar.first (id int)')")
    fails = "context.config.attributes['connection'].exec_driver_sql('SELECT 1 / 0')"
    lines = (fails, "run(context)") if where == "before" else ("run(context)", fails)
    entry = release.migrations / "env.py"
    entry.write_text(entry.read_text().replace("run(context)", "\n".join(lines)))
    with pytest.raises(BazarError) as failed:
        migrate(url)
    expected = ("postgres.rejected", NEXT) if where == "after" else ("db.revision_failed", HEAD)
    assert (failed.value.code, revision_of(url)) == expected
    assert "division by zero" in failed.value.message
    assert lock_is_free(url)


def test_a_server_process_that_ends_in_the_middle(fresh_database: Databases, release: Release) -> None:
    url = fresh_database(migrated=True)
    ask(url, "CREATE TABLE public.pace AS SELECT 60 AS seconds")
    release.add(
        NEXT, "op.execute('CREATE TABLE bazar.half (id int)')\nop.execute('SELECT pg_sleep(seconds) FROM pace')"
    )

    with in_background(url) as migrating:
        poll(lambda: running(url, "SELECT pg_sleep"))
        ask(url, "SELECT pg_terminate_backend(%s)", *running(url, "SELECT pg_sleep"))
        with pytest.raises(BackendUnavailable) as ended:
            migrating.result()

    assert (ended.value.code, ended.value.details["revision"]) == ("postgres.unavailable", NEXT)
    poll(lambda: lock_is_free(url))
    assert revision_of(url) == HEAD
    assert ask(url, "SELECT to_regclass('bazar.half')") == [(None,)]
    ask(url, "UPDATE public.pace SET seconds = 0")
    assert migrate(url).current == NEXT


@pytest.mark.long
def test_a_server_process_that_is_killed(release: Release) -> None:
    """On a server of its own: Postgres ends every session when one of its processes is killed."""
    server = ScratchPostgres()
    try:
        url = server.start()
        migrate(url)
        ask(url, "CREATE TABLE public.pace AS SELECT 600 AS seconds")
        ask(url, "CHECKPOINT")  # the servers of the tests commit lazily, and a crash takes what was last
        sleep = "op.execute('SELECT pg_sleep(seconds) FROM public.pace')"
        release.add(NEXT, f"op.execute('CREATE TABLE bazar.half (id int)')\n{sleep}")
        with in_background(url) as migrating:
            poll(lambda: running(url, "SELECT pg_sleep"))
            os.kill(running(url, "SELECT pg_sleep")[0], signal.SIGKILL)
            with pytest.raises(BackendUnavailable):
                migrating.result()
        poll(lambda: answers(url))
        assert (revision_of(url), lock_is_free(url)) == (HEAD, True)
        assert ask(url, "SELECT to_regclass('bazar.half')") == [(None,)]
        ask(url, "UPDATE public.pace SET seconds = 0")
        assert migrate(url).current == NEXT
    finally:
        server.stop()


# -- somebody holds a table ---------------------------------------------------------------------------------

_ALTER = "op.execute('CREATE TABLE bazar.kept_once (id int)')\nop.execute('ALTER TABLE bazar.users ADD extra int')"


def test_a_table_that_is_released_is_waited_for(fresh_database: Databases, release: Release) -> None:
    url, told = fresh_database(migrated=True), list[str]()
    release.add(NEXT, _ALTER)

    with report(url) as connection:

        def hear(said: str) -> None:
            told.append(said)
            if "trying again" in said:
                connection.rollback()

        done = migrate(url, notify=hear)

    [applied] = done.applied
    assert applied.retries >= 1
    assert any("(a long report, user" in said and "trying again" in said for said in told), told


def test_sessions_that_hold_a_table_are_named_and_readers_are_let_in_between_attempts(
    fresh_database: Databases, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fresh_database(migrated=True)
    monkeypatch.setattr(session, "RETRIES", 1)
    release.add(NEXT, _ALTER)
    request = replace(IMPATIENT, lock_timeout=0.8)

    with report(url) as connection, in_background(url, request) as migrating:
        poll(lambda: running(url, "ALTER TABLE"))
        ask(url, "SELECT count(*) FROM bazar.users")
        # It was let in between the two attempts.
        assert not migrating.done()
        with pytest.raises(BackendUnavailable) as busy:
            migrating.result()
        pid = connection.info.backend_pid

    assert (busy.value.code, busy.value.exit_code) == ("postgres.busy", ExitCode.UNAVAILABLE)
    assert f"pid {pid} (a long report, user " in busy.value.message
    named = cast("list[dict[str, object]]", busy.value.details["blockers"])
    assert [(b["pid"], b["application"]) for b in named] == [(pid, "a long report")]
    assert revision_of(url) == HEAD
    assert ask(url, "SELECT to_regclass('bazar.kept_once')") == [(None,)]


def test_only_sessions_that_block_are_named(
    fresh_database: Databases, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fresh_database(migrated=True)
    monkeypatch.setattr(session, "RETRIES", 0)
    release.add(NEXT, "op.execute('LOCK TABLE bazar.users IN SHARE ROW EXCLUSIVE MODE')")

    with psycopg.connect(url, application_name="a reader") as reader, report(url, WRITES):
        reader.execute("SELECT count(*) FROM bazar.users")
        with pytest.raises(BackendUnavailable) as busy:
            migrate(url, replace(IMPATIENT, lock_timeout=0.8))

    assert busy.value.code == "postgres.busy"
    named = cast("list[dict[str, object]]", busy.value.details["blockers"])
    assert [b["application"] for b in named] == ["a long report"]
    assert "a reader" not in busy.value.message


def test_looks_at_blockers_are_calls_of_the_command(fresh_database: Databases) -> None:
    url = fresh_database(migrated=True)
    # Times are read with bazar's own settings, not with those of the database.
    ask(url, f"ALTER DATABASE {conninfo_to_dict(url)['dbname']} SET datestyle = 'German, DMY'")
    calls = Calls(TraceContext("1" * 32, "2" * 16, "", sampled=True, state=""))

    with report(url), psycopg.connect(url) as waiter, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(waiter.execute, "LOCK TABLE bazar.users")
        with calls.recording(), blockers.Blockers(Secret(url), waiter.info.backend_pid, 0.1) as looks:
            poll(lambda: looks.found)
        waiter.cancel()
        with pytest.raises(psycopg.errors.QueryCanceled):
            waiting.result()

    assert [call.name for call in calls.kept][:4] == ["connect", "BEGIN", "WITH", "ROLLBACK"]


def test_a_look_that_fails_does_not_replace_the_error(
    fresh_database: Databases, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_arguments: object, **_options: object) -> None:
        raise psycopg.OperationalError("no room for another connection")

    url = fresh_database(migrated=True)
    monkeypatch.setattr(session, "RETRIES", 0)
    monkeypatch.setattr(blockers, "connect", fails)
    release.add(NEXT, _ALTER)

    with report(url), pytest.raises(BackendUnavailable) as busy:
        migrate(url)

    assert (busy.value.code, busy.value.details["blockers"]) == ("postgres.busy", [])
    assert "stayed locked by another session" in busy.value.message


def test_the_lock_must_still_be_held_before_each_revision(fresh_database: Databases, release: Release) -> None:
    url = fresh_database(migrated=True)
    release.add(NEXT, "op.execute('SELECT pg_advisory_unlock_all()')")
    release.add(ADDED[1], "op.execute('CREATE TABLE bazar.unguarded (id int)')")

    with pytest.raises(BackendUnavailable) as lost:
        migrate(url)

    assert lost.value.code == "db.lock_lost"
    assert revision_of(url) == NEXT


# -- without a transaction ----------------------------------------------------------------------------------


@pytest.mark.parametrize("again", ["bazar", pytest.param("alembic", marks=pytest.mark.long)])
def test_an_index_that_was_cut_off_is_whole_after_the_next_run(
    fresh_database: Databases, release: Release, again: str
) -> None:
    url = fresh_database(migrated=True)
    release.add_concurrent(NEXT, "users_name_idx")

    with report(url, WRITES), in_background(url) as migrating:
        poll(lambda: validity(url, "users_name_idx") == [False])
        poll(lambda: running(url, "CREATE INDEX"))
        ask(url, "SELECT pg_terminate_backend(%s)", *running(url, "CREATE INDEX"))
        with pytest.raises(BackendUnavailable):
            migrating.result()
    assert (validity(url, "users_name_idx"), revision_of(url)) == ([False], HEAD)
    poll(lambda: lock_is_free(url))

    if again == "bazar":
        assert migrate(url).current == NEXT
    else:
        release.alembic(url, "upgrade", "head").ok()

    assert (validity(url, "users_name_idx"), revision_of(url)) == ([True], NEXT)
    assert ask(url, f"SELECT count(*) FROM bazar.migration_log WHERE revision = '{NEXT}'") == [(1,)]


def test_an_index_that_must_wait_too_long_is_not_tried_again(fresh_database: Databases, release: Release) -> None:
    url, told = fresh_database(migrated=True), list[str]()
    release.add_concurrent(NEXT, "users_name_idx")

    with report(url, WRITES), pytest.raises(BackendUnavailable) as busy:
        migrate(url, replace(IMPATIENT, lock_wait=1), told.append)

    assert busy.value.code == "postgres.busy"
    assert "a long report" in busy.value.message
    assert not any("trying again" in said for said in told)
    assert any(said.startswith("Waiting for pid") for said in told)
    assert migrate(url).current == NEXT
    assert validity(url, "users_name_idx") == [True]


def test_an_index_of_that_name_that_is_whole_stays(fresh_database: Databases, release: Release) -> None:
    url = fresh_database(migrated=True)
    release.add_concurrent(NEXT, "users_name_idx")
    ask(url, "CREATE INDEX users_name_idx ON bazar.users (name)")
    before = ask(url, "SELECT 'bazar.users_name_idx'::regclass::oid")

    migrate(url)

    assert ask(url, "SELECT 'bazar.users_name_idx'::regclass::oid") == before


_BLOCK = "with op.get_context().autocommit_block():\n    "
_INDEX = "op.execute('CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON bazar.users (name)')"


@pytest.mark.parametrize(
    ("up", "head", "flaw"),
    [
        (_BLOCK + _INDEX, "", "does not say `transactional = False`"),
        (_INDEX, "transactional = False", "nothing else"),
        (_BLOCK + _INDEX + "\nop.execute('SELECT 1')", "transactional = False", "nothing else"),
        (_BLOCK + _INDEX + "\n    op.execute('SELECT 1')", "transactional = False", "nothing else"),
        (_BLOCK + _INDEX.replace("IF NOT EXISTS ", ""), "transactional = False", "IF NOT EXISTS"),
        (
            _BLOCK + "op.create_index('i', 'users', ['name'], schema='bazar', postgresql_concurrently=True)",
            "transactional = False",
            "IF NOT EXISTS",
        ),
    ],
)
def test_statement_that_is_not_alone_or_not_repeatable_is_not_begun(
    fresh_database: Databases, release: Release, up: str, head: str, flaw: str
) -> None:
    url = fresh_database(migrated=True)
    release.add(NEXT, up, head=head)

    with pytest.raises(UsageError) as refused:
        migrate(url)

    assert (refused.value.code, flaw in refused.value.message) == ("db.revision_form", True)
    assert (revision_of(url), validity(url, "i")) == (HEAD, [])
