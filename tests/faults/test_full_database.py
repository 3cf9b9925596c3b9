"""The embedded stack on a disk that is full: nothing half done, and it goes on when there is room again."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from bazar_cli.devstack.binaries import STACK_GROUP, system_folder
from bazar_cli.devstack.paths import StackPaths
from tests.cli.local.conftest import START, environment, parts, stack_home
from tests.support.cli import Bazar
from tests.support.postgres import create_database

pytestmark = [pytest.mark.mount, pytest.mark.xdist_group("faults-disk")]
"""One stack on a disk of its own serves all of these tests; each leaves room on it."""

MEGABYTES = 120


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Generator[Bazar]:
    """`bazar` whose embedded Postgres lies on a small disk."""
    with stack_home(tmp_path_factory.mktemp("disk") / "home") as bazar:
        where = StackPaths.for_data_dir(bazar.home / "data")
        assert where.system_root is not None
        disk = system_folder(where.system_root) / where.key
        disk.mkdir()
        options = f"size={MEGABYTES}m,gid={STACK_GROUP},mode=0710"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], check=True)
        try:
            yield bazar
        finally:
            bazar("local", "stop")
            subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def local(home: Bazar) -> Bazar:
    """`bazar` in the home of a stack that runs."""
    home(*START).ok()
    return home


def disk(bazar: Bazar) -> Path:
    """The folder where the small disk is mounted."""
    return StackPaths.for_data_dir(bazar.home / "data").postgres.parent


@contextmanager
def connected(bazar: Bazar) -> Generator[psycopg.Connection]:
    """Lend a connection to the stack's database."""
    with closing(psycopg.connect(environment(bazar)["DATABASE_URL"], autocommit=True)) as connection:
        yield connection


@contextmanager
def full(bazar: Bazar) -> Generator[None]:
    """Take all the room of the disk for the block, also what Postgres would give back during it."""
    if parts(bazar)["postgres"]["pid"] is not None:
        with connected(bazar) as connection:
            connection.execute("CHECKPOINT")
    ballast = disk(bazar) / "ballast"
    free = os.statvfs(disk(bazar))
    with ballast.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, free.f_bavail * free.f_bsize)
    try:
        yield
    finally:
        ballast.unlink()


TABLES = ("bazar.users", "auth.users")


@contextmanager
def soon_full(connection: psycopg.Connection, table: str) -> Generator[None]:
    """Let each page of a table take a few rows only, so that its indexes are not what lacks room."""
    connection.execute(f"ALTER TABLE {table} SET (fillfactor = 10, autovacuum_enabled = off)".encode())
    # What was changed and deleted leaves room behind that any reader may give back later.
    connection.execute(f"VACUUM {table}".encode())
    try:
        yield
    finally:
        connection.execute(f"DELETE FROM {table} WHERE email LIKE '%@f.test'".encode())
        connection.execute(f"ALTER TABLE {table} RESET (fillfactor, autovacuum_enabled)".encode())


def fill(bazar: Bazar, table: str) -> None:
    """Insert rows, smaller than any of a real user, until the last page is full and there is none for another.

    Each connection has its own idea of which page has room, so it is full when a new one finds none.
    """
    url = environment(bazar)["DATABASE_URL"]
    insert = (
        f"INSERT INTO {table} (id, email) VALUES (gen_random_uuid(), left(gen_random_uuid()::text, 8) || '@f.test')"
    )
    inserted = -1
    while inserted != 0:
        inserted = 0
        with closing(psycopg.connect(url, autocommit=True)) as connection, suppress(psycopg.errors.DiskFull):
            while True:
                connection.execute(insert.encode())
                inserted += 1


@pytest.mark.parametrize("table", TABLES)
def test_create_on_a_full_disk_is_finished_when_there_is_room(local: Bazar, table: str) -> None:
    email = f"{table}@example.com"
    words = ("users", "create", email, "--generate-password", "-o", "json")
    with connected(local) as connection, soon_full(connection, table):
        with full(local):
            fill(local, table)
            done = local(*words)
            assert (done.code, done.out) == (7, "")
            assert local("users", "list").code == 0
        both = "SELECT u.pending, a.id = u.id FROM bazar.users u LEFT JOIN auth.users a USING (email) WHERE email = %s"
        # Where only Supabase's table is full the intent is there, unless one more table of ours had no room either.
        half: list[tuple[object, ...]] = [] if table == "bazar.users" else [("create", None)]
        assert connection.execute(both.encode(), [email]).fetchall() in ([], half)
        user = local(*words).ok().json
        assert connection.execute(both.encode(), [email]).fetchall() == [(None, True)]
    assert local("auth", "login", "--email", email, "--password-stdin", stdin=user["password"]).code == 0


def test_migration_on_a_full_disk_leaves_nothing_half(local: Bazar) -> None:
    values = environment(local)
    other = create_database(values["DATABASE_URL"], "migrated_on_a_full_disk")
    bazar = local.having(**{**values, "DATABASE_URL": other})
    pending = bazar("db", "status", "-o", "json").ok().json["pending"]
    with full(local):
        done = bazar("db", "migrate", "-o", "json")
        assert (done.code, done.out, done.error["code"]) == (7, "", "postgres.unavailable")
        assert "No space left on device" in done.error["message"]
    assert bazar("db", "status", "-o", "json").ok().json["pending"] == pending
    bazar("db", "migrate").ok()
    assert bazar("db", "status", "--check", "-o", "json").ok().json["pending"] == []


def test_server_that_ends_for_want_of_room_comes_back_with_all_that_it_confirmed(local: Bazar) -> None:
    local("users", "create", "before@example.com", "--if-not-exists").ok()
    with connected(local) as connection, full(local):
        # More than is left of the file of changes that Postgres took in advance: it panics, and tries again.
        changes = "SELECT pg_logical_emit_message(false, 'bazar', repeat('x', 1000)) FROM generate_series(1, %s)"
        with pytest.raises(psycopg.OperationalError):
            connection.execute(changes, [MEGABYTES * 1000])
        write = local("users", "create", "meanwhile@example.com", "-o", "json")
        assert (write.code, write.out == "") in {(0, False), (7, True)}
    local(*START).ok()
    local("users", "get", "before@example.com").ok()
    if write.code == 0:
        local("users", "get", "meanwhile@example.com").ok()
    assert (
        local("users", "create", "meanwhile@example.com", "--if-not-exists", "-o", "json").ok().json["pending"] is None
    )


def test_start_on_a_full_disk_says_so_and_works_when_there_is_room(home: Bazar) -> None:
    home("local", "stop").ok()
    shutil.rmtree(disk(home) / "postgres", ignore_errors=True)
    with full(home):
        done = home(*START)
        assert (done.code, done.out) == (7, "")
        assert "No space left on device" in done.error["message"]
    home(*START).ok()
    assert {part["state"] for part in parts(home).values()} == {"running"}
    home("users", "list").ok()
