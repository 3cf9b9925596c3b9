"""`db create` and `db drop`: the database itself, made once and dropped only unprotected, by its name, unused."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from bazar_cli.adapters.postgres.probe import is_absent
from bazar_cli.adapters.postgres.server import Server
from bazar_cli.domain.db.create_and_drop import CREATE, DROP, CreateDatabase, DropDatabase
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, Refused
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from bazar_cli.services.db import create_and_drop
from bazar_cli.services.gate.backends import Backends
from tests.support.people import REQUEST_ID, People, granted
from tests.support.postgres import drop_database, scratch_database, sibling, target_of

Databases = Callable[..., str]


def exists(postgres_url: str, name: str) -> bool:
    with psycopg.connect(postgres_url) as connection:
        return connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is not None


def dropped(target: Target, confirm: str | None, *, dry_run: bool = False) -> str:
    """Drop as a superuser of that database, with nobody of the test connected to it."""
    request = DropDatabase(confirm)
    with People(target) as people:
        grant = granted(people.operator(people.superuser()), DROP, request, dry_run=dry_run)
    with Backends(target, REQUEST_ID) as backends:
        return create_and_drop.drop(backends, grant, request).database


def refused(kind: type[BazarError], act: Callable[[], object]) -> BazarError:
    with pytest.raises(kind) as found:
        act()
    return found.value


def test_a_database_is_made_once(postgres_url: str) -> None:
    name = f'we"ird Näme {secrets.token_hex(4)}'
    target = target_of(sibling(postgres_url, name))
    assert is_absent(target.database_url)
    try:
        with ThreadPoolExecutor() as pool:
            made = [one.result() for one in [pool.submit(Server(target).create) for _ in range(4)]]
        assert sorted(made) == [False, False, False, True]
        assert exists(postgres_url, name)
        assert not is_absent(target.database_url)
        assert not Server(target).create()
    finally:
        drop_database(postgres_url, name.replace('"', '""'))


def test_existing_database_is_not_changed(fresh_database: Databases) -> None:
    target = target_of(fresh_database(migrated=True))
    with People(target) as people:
        done = people.run(people.superuser(), create_and_drop.create, CREATE, CreateDatabase())
        assert (done.created, done.database) == (False, Server(target).database)
        assert people.sql("SELECT count(*) AS n FROM bazar.users") == [{"n": 1}]


def test_drop_wants_the_name_then_drops(fresh_database: Databases, postgres_url: str) -> None:
    target = target_of(fresh_database(migrated=True))
    name = Server(target).database
    for confirm in (None, "", "another", name.upper()):
        error = refused(Refused, lambda c=confirm: dropped(target, c))
        assert (error.code, f"`bazar db drop --confirm {name}`" in error.hint) == ("db.confirm_mismatch", True)
    assert dropped(target, None, dry_run=True) == name
    assert exists(postgres_url, name)
    assert dropped(target, name) == name
    assert not exists(postgres_url, name)


def test_connected_sessions_are_named_and_stop_a_drop(fresh_database: Databases, postgres_url: str) -> None:
    target = target_of(fresh_database(migrated=True))
    name = Server(target).database
    with psycopg.connect(target.database_url.reveal(), application_name="a program") as other:
        for dry_run in (True, False):
            error = refused(Conflict, lambda dry=dry_run: dropped(target, name, dry_run=dry))
            assert error.code == "db.in_use"
            assert f"pid {other.info.backend_pid} (a program, user {other.info.user})" in error.message
            assert [s["pid"] for s in _list(error.details["sessions"])] == [other.info.backend_pid]
    assert exists(postgres_url, name)


def test_session_that_is_ending_does_not_stop_a_drop(fresh_database: Databases, postgres_url: str) -> None:
    """A session is listed for some milliseconds after its client has closed the connection."""
    target = target_of(fresh_database(migrated=True))
    name = Server(target).database
    with psycopg.connect(target.database_url.reveal(), options="-c idle_session_timeout=200ms"):
        assert Server(target).sessions() == ()
        assert dropped(target, name) == name
    assert not exists(postgres_url, name)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("UPDATE bazar.deployment SET protected = true", "db.protected"),
        ("DELETE FROM bazar.deployment", "db.unmarked"),
    ],
)
def test_protected_and_unmarked_databases_refuse_all_options(
    fresh_database: Databases, postgres_url: str, change: str, code: str
) -> None:
    target = target_of(fresh_database(migrated=True))
    name = Server(target).database
    with psycopg.connect(target.database_url.reveal()) as connection:
        connection.execute(change.encode())
    for confirm in (name, None):
        assert refused(Refused, lambda c=confirm: dropped(target, c)).code == code
    assert refused(Refused, lambda: dropped(target, name, dry_run=True)).code == code
    assert exists(postgres_url, name)


@pytest.mark.parametrize("dry_run", [True, False])
def test_read_only_database_is_not_dropped(fresh_database: Databases, postgres_url: str, *, dry_run: bool) -> None:
    """It is dropped over another database, where the setting does not hold."""
    target = target_of(fresh_database(migrated=True))
    name = Server(target).database
    request = DropDatabase(name)
    with People(target) as people:
        grant = granted(people.operator(people.superuser()), DROP, request, dry_run=dry_run)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'.encode())
    with Backends(target, REQUEST_ID) as backends:
        error = refused(BackendUnavailable, lambda: create_and_drop.drop(backends, grant, request))
    assert error.code == "postgres.read_only"
    assert f"set on the database {name}; nothing was done" in error.message
    assert exists(postgres_url, name)


def test_copy_of_a_protected_database_is_protected(fresh_database: Databases, postgres_url: str) -> None:
    url = fresh_database(migrated=True)
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE bazar.deployment SET protected = true")
    with scratch_database(postgres_url, Server(target_of(url)).database) as copy:
        target = target_of(copy)
        assert refused(Refused, lambda: dropped(target, Server(target).database)).code == "db.protected"


def test_only_the_database_that_knows_the_operator_is_dropped(fresh_database: Databases, postgres_url: str) -> None:
    own, other = fresh_database(migrated=True), fresh_database(migrated=True)
    with psycopg.connect(other) as connection:
        connection.execute("UPDATE bazar.deployment SET id = gen_random_uuid()")
    target = replace(target_of(own), migration_url=Secret(other))
    error = refused(Conflict, lambda: dropped(target, Server(target).database))
    assert error.code == "db.urls_differ"
    target = replace(target, migration_url=Secret(postgres_url))
    assert refused(Refused, lambda: dropped(target, "postgres")).code == "db.maintenance_database"
    assert exists(postgres_url, Server(target_of(other)).database)


def test_role_without_privilege_is_refused_by_name(fresh_database: Databases, postgres_url: str) -> None:
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name}".encode())
        try:
            lowly = f"{'&' if '?' in postgres_url else '?'}options=-crole%3D{name}"
            assert refused(Conflict, Server(target_of(sibling(postgres_url, name) + lowly)).create).code == (
                "db.may_not_create"
            )
            server = Server(target_of(fresh_database() + lowly))
            assert refused(Conflict, server.drop).code == "db.may_not_drop"
        finally:
            connection.execute(f"DROP ROLE {name}".encode())


def _list(value: object) -> list[dict[str, object]]:
    assert isinstance(value, list)
    return value  # pyright: ignore[reportUnknownVariableType] - JSON
