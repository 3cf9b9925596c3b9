"""The log of migrations: which file was applied, when, by whom; and what tells that a file has changed since."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from bazar_cli import __version__
from bazar_cli.adapters.migrations.migrator import Migrator
from bazar_cli.adapters.migrations.reverter import Reverter
from bazar_cli.adapters.migrations.revision_files import known_files, revisions, script_location
from bazar_cli.domain.db.migrations import MIGRATE, Migrate
from bazar_cli.domain.errors import Conflict
from tests.support.people import an_operator, granted
from tests.support.postgres import migrate, target_of
from tests.support.release import ADDED, HEAD, NEXT, Release

ALL = revisions(script_location())
Databases = Callable[..., str]


def log_of(url: str) -> list[dict[str, Any]]:
    with psycopg.Connection[dict[str, Any]].connect(url, row_factory=dict_row) as connection:
        return connection.execute("SELECT * FROM bazar.migration_log ORDER BY revision, id").fetchall()


def up_to(url: str, revision: str) -> None:
    Migrator(target_of(url)).migrate(Migrate(revision), lambda _text: None)


def take_back(url: str, *, to: str | None = None, again: bool = False) -> None:
    reverter = Reverter(target_of(url))
    seen = reverter.preview(reverter.status(), reverter.chosen(reverter.status(), None if to else 1, to))
    reverter.revert(seen, lambda _status: None, lambda _text: None, again=again)


def changed(url: str) -> list[str]:
    return [c.revision.id for c in Migrator(target_of(url)).status().changed]


def audited(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT use_case, before, after FROM bazar.audit_events ORDER BY seq").fetchall()


def test_a_run_that_ends_well_leaves_one_event(fresh_database: Databases, release: Release) -> None:
    url, grant = fresh_database(), granted(an_operator(superuser=True), MIGRATE)
    release.add_concurrent(NEXT, "users_name")
    path = release.add(ADDED[1], "op.execute('SELECT 1 / 0')")

    def run(revision: str | None = None) -> None:
        request = Migrate(revision, environment="staging", protected=True)
        Migrator(target_of(url), grant).migrate(request, lambda _text: None)

    run("0002")
    run(NEXT)
    run(NEXT)
    with pytest.raises(Conflict):
        run()
    release.rewrite(path, "1 / 0", "1")
    run()
    run()
    with psycopg.connect(url) as connection:
        connection.execute("DELETE FROM bazar.deployment")
    run()

    assert audited(url) == [
        ("db.migrate", {"revision": None}, {"revision": "0002", "revisions": ["0001", "0002"]}),
        ("db.migrate", {"revision": "0002"}, {"revision": NEXT, "revisions": [*(r.id for r in ALL[2:]), NEXT]}),
        ("db.migrate", {"revision": NEXT}, {"revision": ADDED[1], "revisions": [ADDED[1]]}),
        ("db.migrate", None, {"environment": "staging", "protected": True}),
    ]


def test_one_run_logs_every_revision_with_its_file(fresh_database: Databases) -> None:
    url = fresh_database()
    migrate(url)

    rows = log_of(url)

    assert [(r["revision"], r["direction"], r["checksum"]) for r in rows] == [(r.id, "up", r.checksum) for r in ALL]
    assert {r["bazar_version"] for r in rows} == {__version__}
    assert all(0 <= r["duration_ms"] < 60_000 for r in rows)
    moments = [r["started_at"] for r in rows]
    assert moments == sorted(moments)


def test_plain_alembic_logs_the_same(fresh_database: Databases, tmp_path: Path) -> None:
    url, checkout = fresh_database(), Release(tmp_path / "release")

    checkout.alembic(url, "upgrade", "head").ok()
    assert [(r["revision"], r["checksum"], r["operator_email"]) for r in log_of(url)] == [
        (r.id, r.checksum, None) for r in ALL
    ]

    checkout.alembic(url, "downgrade", HEAD).ok()
    checkout.add(NEXT, "pass")
    checkout.alembic(url, "upgrade", "head").ok()
    checkout.alembic(url, "downgrade", "-1").ok()
    assert [r["direction"] for r in log_of(url) if r["revision"] == NEXT] == ["up", "down"]


def test_what_was_applied_before_the_log_has_no_checksum(fresh_database: Databases) -> None:
    url = fresh_database()
    up_to(url, "0002")
    migrate(url)

    rows = {r["revision"]: r for r in log_of(url)}

    assert (rows["0001"]["checksum"], rows["0002"]["checksum"]) == (None, None)
    assert rows["0003"]["checksum"] == ALL[2].checksum
    assert changed(url) == []


def test_log_that_was_rolled_back_is_written_again(fresh_database: Databases) -> None:
    url = fresh_database(migrated=True)
    take_back(url, to="0003")
    migrate(url)

    assert [r["checksum"] for r in log_of(url)] == [None, None, None, *(r.checksum for r in ALL[3:])]


def test_a_revision_that_fails_leaves_no_row(fresh_database: Databases, release: Release) -> None:
    url = fresh_database(migrated=True)
    release.add(NEXT, "op.execute('CREATE TABLE bazar.half (id int)')\nop.execute('SELECT 1 / 0')")

    with pytest.raises(Conflict) as failed:
        up_to(url, "head")

    assert (failed.value.code, failed.value.details["revision"]) == ("db.revision_failed", NEXT)
    assert "division by zero" in failed.value.message
    assert [r["revision"] for r in log_of(url)] == [r.id for r in ALL]


def test_only_the_file_of_the_last_time_counts(fresh_database: Databases, release: Release) -> None:
    url = fresh_database(migrated=True)
    path = release.add(NEXT, "pass")
    up_to(url, "head")
    path.write_text(path.read_text() + "# changed\n")
    known_files.cache_clear()
    assert changed(url) == [NEXT]
    with pytest.raises(Conflict) as refused:
        up_to(url, "head")
    assert refused.value.code == "db.revision_changed"

    take_back(url, again=True)

    assert changed(url) == []


def test_the_script_of_a_plan_writes_the_log(fresh_database: Databases) -> None:
    for start in (None, "0002", "0003"):
        by_hand = fresh_database()
        if start is not None:
            up_to(by_hand, start)
        sql = Migrator(target_of(by_hand)).plan(Migrate(sql=True)).sql
        assert sql is not None
        with psycopg.connect(by_hand, autocommit=True) as connection:
            connection.execute(sql.encode())

        known = [r.checksum if start is None or r.id > start else None for r in ALL]
        assert [r["checksum"] for r in log_of(by_hand)] == known, start


@pytest.mark.long
def test_scripts_of_plain_alembic_keep_the_log_where_there_is_one(fresh_database: Databases, tmp_path: Path) -> None:
    url, checkout = fresh_database(migrated=True), Release(tmp_path / "release")
    checkout.add(NEXT, "pass")
    for words in (("upgrade", f"{HEAD}:{NEXT}"), ("downgrade", f"{NEXT}:{HEAD}"), ("downgrade", "0004:base")):
        done = checkout.alembic(url, *words, "--sql").ok()
        assert ("INSERT INTO bazar.migration_log (revision, direction, checksum" in done.out) == (
            words[1] != "0004:base"
        )
