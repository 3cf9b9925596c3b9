"""One throw-away Postgres server for a whole test run, and databases on it."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import psycopg
from psycopg.errors import QueryCanceled

from bazar_cli.adapters.migrations.migrator import Migrator
from bazar_cli.devstack.auth.schema import ensure_schema
from bazar_cli.devstack.paths import StackPaths
from bazar_cli.devstack.postgres import EmbeddedPostgres
from bazar_cli.domain.db.migrations import Migrate
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target, TargetKind, TargetSource

TEMPLATE = "bazar_template"
UNSAFE_AND_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "autovacuum": "off",
}


RECOVERS = {**UNSAFE_AND_FAST, "synchronous_commit": "on"}
"""What was committed is there after a crash of the server, though not of the machine."""


_DROP_SECONDS = 3
_MEMORY = Path("/dev/shm")
_MEMORY_PREFIX = "bazar-tests-"
_MEMORY_BYTES = 2 << 30
"""So much must be free: a database has 8 MB, and a worker keeps a dozen at once."""


class ScratchPostgres:
    """The server of one run: started by the first process, used by all workers, removed at the end.

    Parameters: `in_memory` keeps the databases in memory where there is enough: making the 700 files of one on a disk
    takes twenty times as long, and every second test makes one.
    """

    def __init__(self, settings: Mapping[str, str] = UNSAFE_AND_FAST, *, in_memory: bool = False) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bazar-tests-")
        self._paths = StackPaths.for_data_dir(Path(self._folder.name))
        self._server = EmbeddedPostgres(self._paths, settings)
        self._memory = folder_in_memory() if in_memory else None

    def start(self) -> str:
        """Start the server and make the template database; return the URL of its `postgres` database."""
        self._server.start()
        url = self._server.url("postgres")
        if self._memory is not None:
            _keep_in_memory(url, self._memory)
        create_database(url, TEMPLATE)
        template = sibling(url, TEMPLATE)
        with psycopg.connect(template, autocommit=True) as connection:
            ensure_schema(connection)
        migrate(template)
        return url

    def down(self, *, immediately: bool) -> None:
        """End the server as `pg_ctl stop` does: every session ends, or without a checkpoint, as after a crash."""
        assert self._server.stop(immediately=immediately), "no server ran"

    def up(self) -> None:
        """Start it again at the same address."""
        assert self._server.start(), "the server was up"

    def become_standby(self) -> None:
        """Start it again as a standby without a primary: it refuses writes."""
        self.down(immediately=False)
        (self._paths.data / "standby.signal").touch()
        self.up()

    def stop(self) -> None:
        """Stop the server and remove its folders."""
        self._server.stop(immediately=True)
        self._server.drop()
        self._folder.cleanup()
        if self._memory is not None:
            shutil.rmtree(self._memory)


def folder_in_memory(prefix: str = _MEMORY_PREFIX, suffix: str = "") -> Path | None:
    """A new folder in memory; None where there is no room. What runs that were killed left there is removed.

    Args:
        prefix: what all folders of one purpose begin with; the process number follows.
        suffix: tells folders of one process apart.
    """
    if not (_MEMORY.is_dir() and os.access(_MEMORY, os.W_OK)):
        return None
    for left in _MEMORY.glob(f"{prefix}*"):
        process = left.name.removeprefix(prefix).partition("-")[0]
        if left.stat().st_uid == os.geteuid() and not Path("/proc", process).exists():
            shutil.rmtree(left)
    if shutil.disk_usage(_MEMORY).free < _MEMORY_BYTES:
        return None
    folder = _MEMORY / f"{prefix}{os.getpid()}{suffix}"
    folder.mkdir(mode=0o711)
    return folder


def _keep_in_memory(url: str, folder: Path) -> None:
    """Have new databases keep their tables in a folder: the one that they are copied from does."""
    place = folder / "tables"
    place.mkdir(mode=0o700)
    with psycopg.connect(url, autocommit=True) as connection:
        data = connection.execute("SELECT current_setting('data_directory')").fetchone()
        assert data is not None
        owner = Path(data[0]).stat()
        if owner.st_uid != os.geteuid():
            os.chown(place, owner.st_uid, owner.st_gid)
        connection.execute(f"CREATE TABLESPACE memory LOCATION '{place}'".encode())
        connection.execute("ALTER DATABASE template1 SET TABLESPACE memory")


def migrate(url: str, environment: str = "local", *, protected: bool = False) -> None:
    """Bring a database to the head, marked as given."""
    Migrator(target_of(url)).migrate(Migrate(environment=environment, protected=protected), lambda _text: None)


def target_of(url: str, supabase_url: str = "http://127.0.0.1:1", key: str = "no key") -> Target:
    """Return a target with this database and, where it matters, this Auth service."""
    return Target(TargetSource(TargetKind.ENVIRONMENT, "environment"), supabase_url, Secret(key), Secret(url))


def sibling(url: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    return urlsplit(url)._replace(path=f"/{quote(name, safe='')}").geturl()


def name_of(url: str) -> str:
    """Return the name of the database of a URL."""
    return unquote(urlsplit(url).path[1:])


def create_database(url: str, name: str, template: str | None = None) -> str:
    """Create a database, a copy of `template` where given, and return its URL."""
    # Postgres would else write a copy to its log first, page by page: three times the work.
    copy = f' TEMPLATE "{template}" STRATEGY FILE_COPY' if template else ""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"{copy}'.encode())
    return sibling(url, name)


def drop_database(url: str, name: str) -> None:
    """Drop a database, and end its sessions.

    Before Postgres removes the files, every session of the server must say that it has closed them. One that sends rows
    to a client, or gets rows of a COPY from it, says nothing until that client goes on, in whichever worker it is. Such
    a wait is given up: nobody can use the database any more, and the files go with the server at the end of the run.
    """
    with psycopg.connect(url, autocommit=True) as connection, suppress(QueryCanceled):
        connection.execute(f"SET statement_timeout = '{_DROP_SECONDS}s'".encode())
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())


@contextmanager
def scratch_database(url: str, template: str | None = None) -> Generator[str]:
    """Yield the URL of a database, empty or a copy, and drop it afterwards."""
    name = f"t_{secrets.token_hex(6)}"
    created = create_database(url, name, template)
    try:
        yield created
    finally:
        drop_database(url, name)


_ROWS = """
    DO $$ DECLARE t regclass; BEGIN
        FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'bazar'::regnamespace AND relkind = 'r' LOOP
            EXECUTE format('CREATE POLICY {role} ON %s TO {role} USING (true)', t);
        END LOOP;
    END $$
"""
"""Row security hides the tables of bazar from roles that do not own them. These tests are about `auth` only."""


@contextmanager
def limited_role(url: str, option: str, *grants: str) -> Generator[str]:
    """Yield the URL of this database for a role with all privileges in the schema `bazar` and only these in `auth`.

    Parameters: `option` is BYPASSRLS or NOBYPASSRLS; a grant is `SELECT ON auth.users`.
    """
    role = f"limited_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in (
            f"CREATE ROLE {role} LOGIN {option}",
            f"GRANT USAGE ON SCHEMA auth, bazar TO {role}",
            f"GRANT ALL ON ALL TABLES IN SCHEMA bazar TO {role}",
            # Every 64th event seals those before it.
            f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA bazar TO {role}",
            *(f"GRANT {grant} TO {role}" for grant in grants),
            _ROWS.format(role=role),
        ):
            connection.execute(statement.encode())
        try:
            scheme, rest = url.split("://", 1)
            yield f"{scheme}://{role}@{rest.split('@', 1)[1]}"
        finally:
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())
