"""`bazar local start --database-url`: only the Auth service, beside a Postgres that is somebody else's."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.cli.local.conftest import GROUP, START, ended, environment, parts, postmasters, stack_home
from tests.support.cli import Bazar

pytestmark = GROUP


@pytest.fixture
def home(tmp_path: Path) -> Generator[Bazar]:
    with stack_home(tmp_path / "a home") as bazar:
        yield bazar


@pytest.fixture
def socket_folder() -> Generator[Path]:
    """A folder whose path is short enough for a Unix socket, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="bazar-") as folder:
        yield Path(folder)


def test_waits_for_the_database_and_runs_only_auth(
    home: Bazar, fresh_database: Callable[..., str], socket_folder: Path
) -> None:
    real = fresh_database()
    url = real.partition("?")[0] + f"?host={socket_folder}&port=5432"
    with home.start(*START, "--database-url", url) as process:
        assert process.stderr is not None
        assert b"Waiting for the database" in process.stderr.readline()
        folder = str(conninfo_to_dict(real)["host"])
        (socket_folder / ".s.PGSQL.5432").symlink_to(Path(folder) / ".s.PGSQL.5432")
        done = ended(process).ok()
    assert (done.json["profile"], done.json["migrated"], done.json["already_running"]) == (None, 0, False)
    assert 'next: eval "$(bazar local env)", then bazar db migrate' in done.err
    assert not (home.home / "config").exists()
    assert postmasters(home) == 0
    values = environment(home)
    assert values["DATABASE_URL"] == url
    found = parts(home)
    assert (found["auth"]["state"], found["postgres"]["state"]) == ("running", "running")
    assert (found["postgres"]["pid"], found["postgres"]["log"]) == (None, None)
    migrated = home.having(**values)
    migrated("db", "migrate", "--env", "ci", "--unprotected").ok()
    assert migrated("users", "me", "-o", "json").ok().json["is_superuser"] is True
    migrated("users", "create", "mailed@example.com").ok()
    assert home("local", "mail", "-o", "json").ok().json["items"] == []
    again = home(*START, "--database-url", url).ok()
    assert again.json["already_running"] is True
    other = home("local", "start", "-o", "json")
    assert (other.code, other.out, other.error["code"]) == (6, "", "local.other_database")
    reset = home("local", "reset", "--confirm", "local", "-o", "json").ok()
    assert reset.json["data_deleted"] is False
    assert "is not changed" in reset.err
    with psycopg.connect(real) as connection:
        (users,) = connection.execute("SELECT count(*) FROM bazar.users").fetchall()
    assert users == (2,)


URLS = {
    "another kind": ("mysql://root:very-secret@127.0.0.1/x", 2, "local.database_url"),
    "a port that is no number": ("postgresql://root:very-secret@127.0.0.1:port/x", 2, "local.database_url"),
    "libpq's words": ("host=127.0.0.1 password=very-secret", 2, "local.database_url"),
}


def test_database_url_that_cannot_be_used(home: Bazar, postgres_url: str) -> None:
    gone = postgres_url.replace("/postgres?", "/not_there?").replace("://bazar@", "://bazar:very-secret@")
    for url, code, name in (*URLS.values(), (gone, 6, "db.no_database")):
        done = home(*START, "--database-url", url)
        assert (done.code, done.out, done.error["code"]) == (code, "", name)
        assert "very-secret" not in done.err
    assert {part["state"] for part in parts(home).values()} != {"running"}
    assert home("local", "env").code == 7
