"""Other commands while `bazar db reset` makes the tables anew: they wait for it, and see what is there after it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.support.cli import Bazar
from tests.support.people import OLD_PASSWORD, People, an_address
from tests.support.release import NEXT, Release
from tests.support.waiting import until

Databases = Callable[..., str]
JSON = ("-o", "json")
_GATE = "SELECT pg_advisory_xact_lock_shared(4711)"
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def people(target: Target, fresh_database: Databases) -> Generator[People]:
    """People in an unprotected database at the head, with a stamp of its own."""
    with People(replace(target, database_url=Secret(fresh_database(migrated=True)))) as alone:
        alone.sql("UPDATE bazar.deployment SET id = gen_random_uuid()")
        yield alone


@pytest.fixture
def ruler(people: People, nobody: Bazar) -> Bazar:
    """`bazar` as its only superuser."""
    someone = people.superuser()
    people.identity(someone)
    return nobody.on(people.target).having(BAZAR_TOKEN=people.access_token(someone))


def name_of(people: People) -> str:
    return str(people.sql("SELECT current_database() AS name")[0]["name"])


@contextmanager
def slow_reset(people: People, ruler: Bazar, release: Release) -> Generator[Callable[[int], None]]:
    """A reset that is held in the middle of its transaction until so many others wait for it."""
    release.add(NEXT, f'op.execute("{_GATE}")')
    with psycopg.connect(people.target.database_url.reveal(), autocommit=True) as holder:

        def waiting(count: int) -> None:
            until(lambda: holder.execute(_WAITING).fetchone() == (count,))

        holder.execute("SELECT pg_advisory_lock(4711)")
        process = release.start(ruler, "db", "reset", "--confirm", name_of(people), "-q")
        try:
            waiting(1)

            def let_go(others: int) -> None:
                waiting(others + 1)
                holder.execute("SELECT pg_advisory_unlock(4711)")

            yield let_go
        finally:
            holder.execute("SELECT pg_advisory_unlock_all()")
            out, err = process.communicate()
    assert process.returncode == 0, out + err


def test_who_comes_meanwhile_is_known_and_nobody_else_is(
    people: People, ruler: Bazar, nobody: Bazar, tmp_path: Path
) -> None:
    late = people.user()
    people.identity(late)
    bootstrap = nobody.on(people.target).having(SUPERUSER_EMAIL=late.email, SUPERUSER_PASSWORD=OLD_PASSWORD)
    with slow_reset(people, ruler, Release(tmp_path / "release")) as let_go:
        begun = [
            ruler.start("users", "list", *JSON),
            ruler.start("db", "env", *JSON),
            ruler.start("users", "create", an_address("new"), *JSON),
            bootstrap.start("db", "migrate", "--no-input", *JSON),
        ]
        let_go(len(begun))
        ended = [end(process) for process in begun]
    assert [code for code, _ in ended] == [0, 0, 0, 5], ended
    assert "access.unknown_operator" in ended[3][1]
    superusers = people.sql("SELECT email FROM bazar.users WHERE is_superuser")
    assert len(superusers) == 1
    assert superusers[0]["email"] != late.email


def test_of_two_resets_at_once_one_waits_for_the_other(people: People, ruler: Bazar) -> None:
    begun = [ruler.start("db", "reset", "--confirm", name_of(people), "-q", *JSON) for _ in range(2)]
    ended = [end(process) for process in begun]
    assert [code for code, _ in ended] == [0, 0], ended


def end(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    _, err = process.communicate()
    return process.returncode, err.decode()
