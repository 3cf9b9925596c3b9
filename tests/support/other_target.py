"""Run the end-to-end tests against another target: `make test-live`.

With BAZAR_TEST_SUPABASE_URL, BAZAR_TEST_SUPABASE_KEY and BAZAR_TEST_DATABASE_URL set that is the one they name.
Without, two are made that share nothing with the embedded stack of the other tests: a Postgres of its own with
passwords over TCP, whose role is no superuser, and the Auth service alone beside it, which signs with a secret
(HS256: no key set) and takes its service key as a JWT.

- *together*: both systems in one empty database, with the roles of docker/postgres/init.sql; the tests migrate it.
- *apart*: Auth in another database, with other rules, so that `auth.*` is nowhere near `bazar.*`; the tables are
  there, and a stranger rules them.

Where nginx is installed, the gateway of docker/ stands in front of the Auth service.

What was there before must be there afterwards, and nothing else.

At the end, the tests of commands and the matrix run on the embedded stack through a server of the API.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from bazar_cli.devstack.auth.keys import role_key
from bazar_cli.devstack.binaries import prepare
from bazar_cli.devstack.paths import SHORT_ROOT
from bazar_cli.domain.entities import Role
from tests.support import gateway, via_api
from tests.support.auth_service import running_auth_service
from tests.support.checkout import ROOT
from tests.support.external_target import VARIABLES
from tests.support.people import People
from tests.support.postgres import UNSAFE_AND_FAST, migrate, sibling, target_of

_TABLES = (
    *("bazar.users", "bazar.organizations", "bazar.memberships"),
    *("bazar.plans", "bazar.plan_permissions", "bazar.deployment"),
)
_AUTH_TABLES = ("auth.users", "auth.identities", "auth.sessions", "auth.refresh_tokens", "auth.one_time_tokens")
_MIGRATED = ("bazar.plans", "bazar.plan_permissions", "bazar.deployment")
"""Filled by migrations, which a database without tables gets from the tests."""
_OTHER_RULES = {
    "GOTRUE_JWT_EXP": "7200",
    "GOTRUE_JWT_ISSUER": "https://auth.example.com/auth/v1",
    "GOTRUE_PASSWORD_MIN_LENGTH": "10",
}
THROUGH_API = (
    *(f"tests/cli/{noun}" for noun in ("audit", "auth", "escalations", "orgs", "plans", "users")),
    *(f"tests/cli/test_{topic}.py" for topic in ("consent", "export", "hints", "story", "streams")),
    "tests/contracts/test_matrix.py",
)
"""The tests of commands that have a route. `users import`, `apply` and `db` would run as on a direct target."""
Rows = dict[str, list[str]]


@dataclass(frozen=True)
class Flavour:
    """One other target: the databases of its two systems, and the settings of its Auth service."""

    name: str
    database_url: str
    auth_database_url: str
    rules: Mapping[str, str] = field(default_factory=dict[str, str])
    has_active_superuser: bool = False
    """Its tables exist, with a user who does not belong to the tests."""


@contextmanager
def another_postgres() -> Generator[str]:
    """Run a Postgres server on a TCP port of this machine; yields the URL of its `postgres` database."""
    tools, password = prepare(), secrets.token_hex(16)
    user = tools.run_as
    as_user: dict[str, Any] = {} if user is None else {"user": user.uid, "group": user.gid, "extra_groups": []}
    with tempfile.TemporaryDirectory(prefix="bazar-other-", dir=SHORT_ROOT) as name:
        folder = Path(name)
        (folder / "password").write_text(password)
        if user is not None:
            for path in (folder, folder / "password"):
                os.chown(path, user.uid, user.gid)
        given = ("--username=root", "--pwfile=password", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "-N")
        initdb = [tools.program("initdb"), "-D", "data", *given]
        subprocess.run(initdb, cwd=folder, check=True, stdout=subprocess.DEVNULL, **as_user)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        settings = {**UNSAFE_AND_FAST, "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        words = [word for setting, value in settings.items() for word in ("-c", f"{setting}={value}")]
        postgres = [tools.program("postgres"), "-D", "data", "-p", str(port), *words]
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen[bytes](postgres, cwd=folder, stdout=log, stderr=log, **as_user) as process,
        ):
            try:
                url = f"postgresql://root:{password}@127.0.0.1:{port}/postgres"
                _wait_for(url, process, folder / "log")
                yield url
            finally:
                # A fast shutdown, clients or not.
                process.send_signal(signal.SIGINT)
                process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            assert process.poll() is None, log.read_text()
        else:
            return


def _databases(url: str, *names: str) -> list[str]:
    """Make databases that an ordinary role owns; return their URLs for that role."""
    role, password = f"operator_{secrets.token_hex(3)}", secrets.token_hex(16)
    with psycopg.connect(url, autocommit=True) as connection:
        who = sql.Identifier(role)
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(who, sql.Literal(password)))
        for name in names:
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), who))
    address = f"{role}:{password}@{urlsplit(url).netloc.rpartition('@')[2]}"
    return [urlsplit(sibling(url, name))._replace(netloc=address).geturl() for name in names]


def composed_database(url: str, name: str, given: Path | None = None) -> tuple[str, str]:
    """Make a database with the roles of docker/postgres/init.sql; return the URLs for bazar and for Auth.

    Args:
        url: a database of the server.
        name: of the new database.
        given: the folder with the passwords of the roles; by default new ones.
    """
    with tempfile.TemporaryDirectory(prefix="bazar-secrets-") as made:
        folder = given or Path(made)
        passwords = {role: folder / f"{role}_database_password" for role in ("auth", "bazar")}
        for path in () if given else passwords.values():
            path.write_text(secrets.token_hex(16))
        return _composed_database(url, name, folder, {role: path.read_text() for role, path in passwords.items()})


def _composed_database(url: str, name: str, folder: Path, passwords: Mapping[str, str]) -> tuple[str, str]:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    psql = [prepare().program("psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--set=secrets={folder}"]
    command = [*psql, "--file", str(ROOT / "docker/postgres/init.sql"), sibling(url, name)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    server = urlsplit(url).netloc.rpartition("@")[2]

    def for_role(role: str, password: str) -> str:
        return urlsplit(sibling(url, name))._replace(netloc=f"{role}:{password}@{server}").geturl()

    return (
        for_role("bazar", passwords["bazar"]),
        for_role("supabase_auth_admin", passwords["auth"]),
    )


def rows(database_url: str, auth_database_url: str) -> Rows:
    """Return every row of both systems as text."""
    found: Rows = {}
    for url, tables in ((database_url, _TABLES), (auth_database_url, _AUTH_TABLES)):
        with psycopg.connect(url) as connection:
            for table in tables:
                if connection.execute("SELECT to_regclass(%s)", [table]).fetchone() == (None,):
                    continue
                lines = connection.execute(f"SELECT t::text FROM {table} t ORDER BY 1".encode()).fetchall()
                found[table] = [line for (line,) in lines]
    return found


def _a_stranger(database_url: str, supabase_url: str, key: str) -> None:
    """Make a superuser who does not belong to the tests, with an organization."""
    migrate(database_url, "production", protected=True)
    with People(target_of(database_url, supabase_url, key)) as people:
        org = people.org(name="Somebody else's")
        people.sql("UPDATE bazar.organizations SET slug = 'somebody-elses' WHERE id = %s", org.id)
        ruler = people.user({org: Role.OWNER}, email="ruler@elsewhere.example.org")
        people.sql("UPDATE bazar.users SET plan = 'premium', is_superuser = true WHERE id = %s", ruler.id)
        people.identity(ruler)
        people.access_token(ruler)


def run_tests(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Run the end-to-end tests; return pytest's exit code."""
    workers = os.environ.get("BAZAR_TEST_WORKERS", "auto")
    pytest = [sys.executable, "-m", "pytest", "-n", workers, "--dist", "loadgroup", "-m", "live", *arguments]
    return subprocess.run(pytest, env={**os.environ, **environ}, check=False).returncode


@contextmanager
def served(settings: Mapping[str, str]) -> Generator[str]:
    """Run an Auth service behind the gateway of docker/, or alone where nginx is missing; yields the Supabase URL."""
    if gateway.PROGRAM is None:
        with running_auth_service(settings) as url:
            yield url
    else:
        with (
            running_auth_service(settings, "--prefix", "") as url,
            gateway.gateway(url, changes=gateway.UNLIMITED) as front,
        ):
            yield front


def run_flavour(flavour: Flavour, arguments: list[str]) -> list[str]:
    """Run the end-to-end tests on one flavour; return what went wrong."""
    secret = secrets.token_urlsafe(48)
    key = role_key(secret, "service_role")
    settings = {"GOTRUE_DB_DATABASE_URL": flavour.auth_database_url, "GOTRUE_JWT_SECRET": secret, **flavour.rules}
    note = "" if gateway.PROGRAM else f", without a gateway: {gateway.MISSING}"
    sys.stdout.write(f"== another target: {flavour.name}{note}\n")
    sys.stdout.flush()
    with served(settings) as supabase_url:
        if flavour.has_active_superuser:
            _a_stranger(flavour.database_url, supabase_url, key)
        before = rows(flavour.database_url, flavour.auth_database_url)
        values = (supabase_url, key, flavour.database_url)
        code = run_tests(arguments, dict(zip(VARIABLES, values, strict=True)))
        after = rows(flavour.database_url, flavour.auth_database_url)
    wrong = [f"{flavour.name}: pytest ended with {code}"] if code else []
    for table, lines in after.items():
        expected = before.get(table, lines if table in _MIGRATED else [])
        if lines != expected:
            left = sorted(set(lines).symmetric_difference(expected))
            wrong.append(f"{flavour.name}: {table} is not as it was; {len(left)} rows differ, as {left[0][:200]}")
    return wrong


def run_through_api(arguments: list[str]) -> list[str]:
    """Run the tests of commands and the matrix through the API; return what went wrong."""
    sys.stdout.write("== the embedded stack, through the API\n")
    sys.stdout.flush()
    workers = os.environ.get("BAZAR_TEST_WORKERS", "auto")
    pytest = [sys.executable, "-m", "pytest", "-n", workers, "--dist", "loadgroup", *THROUGH_API, *arguments]
    code = subprocess.run(pytest, env={**os.environ, via_api.VARIABLE: "api"}, check=False).returncode
    return [f"through the API: pytest ended with {code}"] if code else []


def main() -> int:
    """Run the end-to-end tests on another target, named or made; return an exit code."""
    arguments = sys.argv[1:]
    if any(os.environ.get(name) for name in VARIABLES):
        return run_tests(arguments, {})
    wrong: list[str] = []
    with another_postgres() as url:
        together, together_auth = composed_database(url, "together")
        apart, identities = _databases(url, "apart", "identities")
        for flavour in (
            Flavour("together", together, together_auth),
            Flavour("apart", apart, identities, _OTHER_RULES, has_active_superuser=True),
        ):
            wrong += run_flavour(flavour, arguments)
    wrong += run_through_api(arguments)
    sys.stderr.write("".join(f"error: {line}\n" for line in wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
