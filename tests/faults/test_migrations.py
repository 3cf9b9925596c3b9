"""`bazar db migrate` as several processes at once, and killed in the middle."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from bazar_cli.adapters.migrations.revision_files import revisions, script_location
from bazar_cli.adapters.postgres.migration_lock import KEY
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.support.cli import Bazar
from tests.support.release import NEXT, Release
from tests.support.waiting import poll

HEAD = revisions(script_location())[-1].id
Databases = Callable[..., str]
Email = Callable[[str], str]


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """A release to which a test adds revisions."""
    return Release(tmp_path / "release")


@pytest.fixture
def first(tmp_path: Path, target: Target, unique_email: Email) -> Callable[[str], Bazar]:
    """`bazar` on another database beside the worker's Auth service, as its first superuser."""

    def on(url: str) -> Bazar:
        bazar = Bazar(tmp_path / "home").on(replace(target, database_url=Secret(url)))
        return bazar.having(SUPERUSER_EMAIL=unique_email("root"), SUPERUSER_PASSWORD="a-password")

    return on


def wait_for(url: str, query: str) -> None:
    """Ask until the answer is true."""
    with psycopg.connect(url, autocommit=True) as connection:
        poll(lambda: connection.execute(query.encode()).fetchall() != [(False,)])


@pytest.mark.parametrize("migrated", [False, True], ids=["fresh", "existing"])
def test_four_at_once_make_one_index_concurrently(
    first: Callable[[str], Bazar], fresh_database: Databases, release: Release, migrated: bool
) -> None:
    url = fresh_database(migrated=migrated)
    release.add_concurrent(NEXT, "users_name_idx")
    bazar = first(url)

    processes = [release.on(bazar).start("db", "migrate", "-o", "json") for _ in range(4)]
    ended = [(*process.communicate(), process.returncode) for process in processes]

    assert [code for _, _, code in ended] == [0, 0, 0, 0], [err for _, err, _ in ended]
    applied = [a["revision"] for out, _, _ in ended for a in json.loads(out)["applied"]]
    assert sorted(applied) == ([NEXT] if migrated else release.revisions)
    with psycopg.connect(url) as connection:
        valid = connection.execute(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = 'bazar.users_name_idx'::regclass"
        )
        assert valid.fetchall() == [(True,)]
        rulers = connection.execute("SELECT count(*) FROM bazar.users WHERE is_superuser").fetchall()
        assert rulers == [(1,)]


def test_killed_in_the_middle_of_a_statement(
    first: Callable[[str], Bazar], fresh_database: Databases, release: Release
) -> None:
    url = fresh_database(migrated=True)
    bazar = first(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE public.pace AS SELECT 600 AS seconds")
        sleep = "op.execute('SELECT pg_sleep(seconds) FROM public.pace')"
        release.add(NEXT, f"op.execute('CREATE TABLE bazar.half (id int)')\n{sleep}")

        process = release.on(bazar).start("db", "migrate")
        wait_for(url, "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(seconds)%'")
        process.send_signal(signal.SIGKILL)
        process.communicate()

        newer = connection.info.server_version >= 140000
        if not newer:
            pytest.skip("before Postgres 14 a killed client holds its lock until its statement ends")
        wait_for(url, f"SELECT pg_try_advisory_lock({KEY})")
        left = "SELECT (SELECT version_num FROM bazar.alembic_version), to_regclass('bazar.half') IS NULL"
        assert connection.execute(left.encode()).fetchall() == [(HEAD, True)]

        connection.execute("UPDATE public.pace SET seconds = 0")
    again = release.on(bazar)("db", "migrate", "-o", "json").ok().json
    assert ([a["revision"] for a in again["applied"]], again["current"]) == ([NEXT], NEXT)
