"""Other commands while `bazar db reset` makes the tables anew: they wait for it, and see what is there after it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from bazar_cli.domain.target import Target
from tests.cli.db.conftest import as_ruler, people_apart
from tests.support.cli import Bazar
from tests.support.people import OLD_PASSWORD, People, an_address
from tests.support.postgres import name_of
from tests.support.release import NEXT, Release
from tests.support.waiting import poll

JSON = ("-o", "json")
_GATE = """
    DO $$ BEGIN
        WHILE NOT pg_try_advisory_xact_lock_shared(4711) LOOP PERFORM pg_sleep(0.02); END LOOP;
    END $$
"""
"""A wait for a lock would end with `lock_timeout`, and the reset begin anew."""
_HELD = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
_WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def apart(target: Target, fresh_database: Callable[..., str]) -> Generator[People]:
    """People in an unprotected database at the head."""
    with people_apart(target, fresh_database(migrated=True)) as alone:
        yield alone


@pytest.fixture
def ruler(apart: People, nobody: Bazar) -> Bazar:
    """`bazar` as its only superuser."""
    return as_ruler(nobody, apart)


@contextmanager
def slow_reset(apart: People, ruler: Bazar, release: Release) -> Generator[Callable[[], None]]:
    """A reset that is held in the middle of its transaction until another command waits for it."""
    release.add(NEXT, f'op.execute("""{_GATE}""")')
    with psycopg.connect(apart.target.database_url.reveal(), autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(4711)")
        process = release.on(ruler).start("db", "reset", "--confirm", name_of(apart.target.database_url.reveal()), "-q")
        try:
            poll(lambda: holder.execute(_HELD).fetchone())

            def let_go() -> None:
                poll(lambda: holder.execute(_WAITING).fetchone())
                holder.execute("SELECT pg_advisory_unlock(4711)")

            yield let_go
        finally:
            holder.execute("SELECT pg_advisory_unlock_all()")
            out, err = process.communicate()
    assert process.returncode == 0, out + err


# One at a time: each waits 15 s at most, in which a busy machine need not have started them all.
@pytest.mark.parametrize(
    "words",
    [("users", "list"), ("db", "env"), ("users", "create", an_address("new"))],
    ids=["a list", "the marker", "a change"],
)
def test_user_created_meanwhile_is_found(apart: People, ruler: Bazar, tmp_path: Path, words: tuple[str, ...]) -> None:
    with slow_reset(apart, ruler, Release(tmp_path / "release")) as let_go:
        begun = ruler.start(*words, *JSON)
        let_go()
        code, err = end(begun)
    assert code == 0, err


def test_another_identity_becomes_no_superuser_meanwhile(
    apart: People, ruler: Bazar, nobody: Bazar, tmp_path: Path
) -> None:
    late = apart.user()
    apart.identity(late)
    bootstrap = nobody.on(apart.target).having(SUPERUSER_EMAIL=late.email, SUPERUSER_PASSWORD=OLD_PASSWORD)
    with slow_reset(apart, ruler, Release(tmp_path / "release")) as let_go:
        begun = bootstrap.start("db", "migrate", "--no-input", *JSON)
        let_go()
        code, err = end(begun)
    assert code == 5, err
    assert "access.unknown_operator" in err
    superusers = apart.sql("SELECT email FROM bazar.users WHERE is_superuser")
    assert len(superusers) == 1
    assert superusers[0]["email"] != late.email


def test_of_two_resets_at_once_one_waits_for_the_other(apart: People, ruler: Bazar) -> None:
    begun = [
        ruler.start("db", "reset", "--confirm", name_of(apart.target.database_url.reveal()), "-q", *JSON)
        for _ in range(2)
    ]
    ended = [end(process) for process in begun]
    assert [code for code, _ in ended] == [0, 0], ended


def end(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    _, err = process.communicate()
    return process.returncode, err.decode()
