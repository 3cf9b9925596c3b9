"""Time limits of migrations: those of applications count for nothing, one's own is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from bazar_cli.adapters.migrations.migrator import Migrator
from bazar_cli.adapters.migrations.reverter import Reverter
from bazar_cli.domain.db.migrations import Migrate, Migrated
from bazar_cli.domain.errors import BackendUnavailable, ExitCode
from tests.support.postgres import name_of, target_of
from tests.support.release import ADDED, HEAD, NEXT, Release

Databases = Callable[..., str]
LIMITS = ("statement_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout", "transaction_timeout")
SLOW = "op.execute('SELECT pg_sleep(30)')"


def migrate(url: str, request: Migrate | None = None) -> Migrated:
    return Migrator(target_of(url)).migrate(request or Migrate(), lambda _text: None)


def ask(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


def revision_of(url: str) -> str:
    return str(ask(url, "SELECT version_num FROM bazar.alembic_version")[0][0])


def limit(url: str, **settings: str) -> None:
    """Set this on the database."""
    with psycopg.connect(url, autocommit=True) as connection:
        for name, value in settings.items():
            change = SQL("ALTER DATABASE {} SET {} = {}")
            connection.execute(change.format(Identifier(name_of(url)), Identifier(name), value))


def test_limits_of_applications_do_not_count(fresh_database: Databases, release: Release) -> None:
    url = fresh_database(migrated=True)
    query = f"CREATE TABLE bazar.seen AS SELECT name, setting FROM pg_settings WHERE name IN {LIMITS}"
    release.add(NEXT, f"op.execute({query!r})")
    known = [name for (name,) in ask(url, f"SELECT name FROM pg_settings WHERE name IN {LIMITS}")]
    limit(url, **dict.fromkeys(known, "20s"), default_transaction_isolation="serializable")
    assert migrate(url).current == NEXT
    assert {setting for (setting,) in ask(url, "SELECT setting FROM bazar.seen")} == {"0"}


def test_own_limit_is_named(fresh_database: Databases, release: Release) -> None:
    url = fresh_database(migrated=True)
    release.add(NEXT, "op.execute('CREATE TABLE bazar.kept (id int)')")
    release.add(ADDED[1], SLOW)
    with pytest.raises(BackendUnavailable) as stopped:
        migrate(url, Migrate(statement_timeout=0.05))
    error = stopped.value
    assert (error.code, error.exit_code) == ("postgres.busy", ExitCode.UNAVAILABLE)
    assert error.message.startswith(f"revision {ADDED[1]} failed, and nothing of it is left: ")
    assert "longer than --statement-timeout 0.05 allows" in error.message
    assert "--statement-timeout" in error.hint
    assert (error.details["applied"], error.details["set"]) == ([NEXT], "--statement-timeout")
    assert revision_of(url) == NEXT


def test_limit_of_a_revision_is_its_own(fresh_database: Databases, release: Release) -> None:
    url = fresh_database(migrated=True)
    limit(url, statement_timeout="40s")
    release.add(NEXT, f"op.execute(\"SET LOCAL statement_timeout = '20ms'\")\n{SLOW}")
    with pytest.raises(BackendUnavailable) as stopped:
        migrate(url)
    assert "a statement_timeout of the revision's own" in stopped.value.message
    assert revision_of(url) == HEAD


def test_cancel_request_is_not_reported_as_a_limit(fresh_database: Databases, release: Release) -> None:
    url = fresh_database(migrated=True)
    release.add(NEXT, "op.execute('SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(30)')")
    with pytest.raises(BackendUnavailable) as stopped:
        migrate(url)
    assert "another session cancelled its statement" in stopped.value.message


def test_way_back_has_it_too(fresh_database: Databases, release: Release) -> None:
    url = fresh_database(migrated=True)
    release.add(NEXT, "pass", SLOW)
    limit(url, statement_timeout="20ms")
    assert migrate(url).current == NEXT
    reverter = Reverter(target_of(url))
    status = reverter.status()
    seen = reverter.preview(status, reverter.chosen(status, 1, None))
    with pytest.raises(BackendUnavailable) as stopped:
        reverter.revert(seen, lambda _status: None, lambda _text: None, again=False, statement_timeout=0.05)
    assert f"revision {NEXT} failed, and nothing of it is left" in stopped.value.message
    assert revision_of(url) == NEXT


def test_read_only_revision_says_so(fresh_database: Databases, release: Release) -> None:
    url = fresh_database(migrated=True)
    release.add(NEXT, "op.execute('SET TRANSACTION READ ONLY')\nop.execute('CREATE TABLE bazar.kept (id int)')")
    with pytest.raises(BackendUnavailable) as stopped:
        migrate(url)
    assert stopped.value.code == "postgres.read_only"
    assert stopped.value.message.startswith(f"revision {NEXT} failed, and nothing of it is left: ")
