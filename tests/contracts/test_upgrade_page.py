"""The commands of docs/docker.md for an upgrade, run word by word with a `docker` that has Postgres alone."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
import pytest

from bazar_cli.devstack.binaries import prepare
from tests.support.auth_service import running_auth_service
from tests.support.checkout import ROOT
from tests.support.cli import Bazar
from tests.support.compose import make_env, values
from tests.support.other_target import another_postgres, composed_database

_PAGE = (ROOT / "docs/docker.md").read_text()
_DOCKER = """\
#!/bin/bash
set -e
echo "$*" >>log
if [ "$*" = "volume rm bazar_db" ]; then
  cp new-server server
elif [ "$1 $2 $3 $4" = "compose exec -T db" ]; then
  . ./server
  exec "$TOOLS/$5" "${@:6}"
fi
"""
"""It runs the programs of the service `db`. After a removed volume there is a new server. It notes all its words."""


def blocks() -> tuple[str, ...]:
    """The scripts of the section: before an upgrade, without and with another major version of Postgres."""
    section = re.search(r"^## Upgrade\n(.*?)^## ", _PAGE, re.DOTALL | re.MULTILINE)
    assert section is not None
    found = re.findall(r"^```sh\n(.*?)^```$", section[1], re.DOTALL | re.MULTILINE)
    assert len(found) == 3
    # The image's superuser is `postgres`, and that of the test's server is `root`.
    return tuple(block.replace("--username=postgres", "--username=root") for block in found)


def libpq(url: str) -> str:
    """The variables that lead the programs of Postgres to a server."""
    parts = urlsplit(url)
    return f"export PGHOST={parts.hostname} PGPORT={parts.port} PGPASSWORD={unquote(parts.password or '')}\n"


class Machine:
    """A folder like the checkout, with `docker` and `git` that run no container and fetch nothing."""

    def __init__(self, folder: Path, url: str, new_url: str) -> None:
        self.folder = folder
        (folder / "docker").symlink_to(ROOT / "docker")
        (folder / "server").write_text(libpq(url))
        (folder / "new-server").write_text(libpq(new_url))
        for name, script in (("docker", _DOCKER), ("git", "#!/bin/sh\n")):
            program = folder / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(script)
            program.chmod(0o755)

    def run(self, script: str) -> list[str]:
        """Run a script as a shell with a usual umask; return the words of each call of `docker`."""
        (self.folder / "log").write_text("")
        tools = str(Path(prepare().program("psql")).parent)
        environ = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "TOOLS": tools}
        command = ["bash", "-e", "-c", f"umask 022\n{script}"]
        done = subprocess.run(command, cwd=self.folder, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return (self.folder / "log").read_text().splitlines()


@pytest.mark.packages
def test_upgrade_keeps_every_row_and_lets_nothing_write_after_the_dump(tmp_path: Path) -> None:
    dump, same_version, other_version = blocks()
    server = tmp_path / "server-folder"
    server.mkdir()
    make_env(server, "ada@example.com").ok()
    secrets = server / "secrets"
    with another_postgres() as url, another_postgres() as new_url:
        (tmp_path / "machine").mkdir()
        machine = Machine(tmp_path / "machine", url, new_url)
        database_url, auth_database_url = composed_database(url, "bazar", secrets)
        new_database_url, new_auth_database_url = composed_database(new_url, "bazar", secrets)
        auth = values(secrets / "auth.env")
        bazar = Bazar(tmp_path / "home", values(secrets / "bazar.env") | {"DATABASE_URL": database_url})
        settings = auth | {"GOTRUE_DB_DATABASE_URL": auth_database_url}
        with running_auth_service(settings) as supabase_url, psycopg.connect(database_url) as writer:
            here = bazar.having(SUPABASE_URL=supabase_url)
            here("db", "migrate", "--no-input").ok()
            here("users", "create", "before@example.com").ok()
            signed_in = here.having(BAZAR_TOKEN=here("auth", "token").ok().out.strip())
            writer.execute("UPDATE bazar.users SET name = 'Unfinished'")

            calls = machine.run(dump)
            assert calls.index("compose stop gateway auth") < calls.index(next(c for c in calls if "pg_dump" in c))
            assert (machine.folder / "bazar.dump").stat().st_mode & 0o777 == 0o600
            with pytest.raises(psycopg.OperationalError):
                writer.execute("SELECT 1")
            refused = signed_in("users", "create", "late@example.com", "-o", "json")
            assert (refused.code, refused.error["code"]) == (7, "postgres.read_only")
        with psycopg.connect(database_url) as early:
            assert machine.run(same_version)[-1] == "compose up --detach"
            # It would stay read-only.
            with pytest.raises(psycopg.OperationalError):
                early.execute("SELECT 1")
        with running_auth_service(settings) as supabase_url:
            bazar.having(SUPABASE_URL=supabase_url)("users", "create", "after@example.com").ok()
        machine.run(dump)
        calls = machine.run(other_version)
        assert [call for call in calls if "volume" in call] == ["volume rm bazar_db"], "bazar_state is kept"
        assert calls.index("compose down") < calls.index("volume rm bazar_db")
        with running_auth_service(auth | {"GOTRUE_DB_DATABASE_URL": new_auth_database_url}) as supabase_url:
            there = bazar.having(SUPABASE_URL=supabase_url, DATABASE_URL=new_database_url)
            there("db", "status", "--check").ok()
            users = there("users", "list", "-o", "json").ok().json["items"]
            assert {user["email"] for user in users} == {
                *("ada@example.com", "before@example.com", "after@example.com"),
            }
            there("users", "create", "restored@example.com").ok()
            there("audit", "verify").ok()
            there("doctor").ok()
