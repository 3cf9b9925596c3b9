"""Settings that an administrator makes for the sessions of bazar: they change no result, and limits are named.

The sweep sets every setting that any role may set, as far as Postgres names its values: each switch the other way, and
each choice in turn.
"""

from __future__ import annotations

import json
import select
from collections.abc import Generator, Mapping
from typing import Any

import psycopg
import pytest

from bazar_cli.adapters.postgres.database import Database
from bazar_cli.adapters.postgres.errors import translate
from bazar_cli.devstack.auth.keys import AuthKeys
from bazar_cli.domain.db.migrations import STATUS
from bazar_cli.domain.entities import Role
from bazar_cli.domain.errors import BazarError, ExitCode
from bazar_cli.domain.target import Target
from tests.support.cli import Bazar
from tests.support.configured_system import ConfiguredSystem, configured_system
from tests.support.people import granted
from tests.support.postgres import name_of, sibling, target_of

LIMITS = frozenset(
    {"default_transaction_read_only", "transaction_read_only", "transaction_isolation", "transaction_deferrable"}
)
"""What is no default, or is meant to stop a command."""
CHOICES: Mapping[str, tuple[str, ...]] = {
    "datestyle": ("German, DMY", "SQL, MDY", "Postgres, YMD"),
    "timezone": ("Pacific/Apia", "<+03>-03", "America/St_Johns"),
    "client_encoding": ("LATIN1", "SQL_ASCII", "EUC_JP"),
    "extra_float_digits": ("-15", "3", "0"),
    "search_path": ("bazar, auth", "", "public, pg_catalog"),
    "lc_messages": ("C",),
    "lc_time": ("C",),
    "default_text_search_config": ("german",),
    "plpgsql.extra_errors": ("all", "none", "strict_multi_assignment"),
    "plpgsql.extra_warnings": ("all",),
    "statement_timeout": ("60s",),
    "lock_timeout": ("1ms", "60s"),
    "idle_in_transaction_session_timeout": ("60s",),
    "idle_session_timeout": ("60s",),
    "transaction_timeout": ("60s",),
    "work_mem": ("64kB",),
    "application_name": ("an app",),
}
"""Values of settings whose kind alone does not name them."""
ROUNDS = 3
COMMANDS = (
    ("users", "list"),
    ("users", "list", "--limit", "2"),
    ("users", "get", "{user}", "--fields", "id,email,name,created_at,organizations"),
    ("users", "update", "{user}", "--name", "O'Brien \\ Łódź"),
    ("orgs", "create", "Łódź \\'", "--dry-run", "--fields", "name,slug,members"),
    ("orgs", "list"),
    ("orgs", "members", "list", "{org}"),
    ("plans", "matrix"),
    ("plans", "usage"),
    ("audit", "list", "--org", "{org}", "--limit", "3"),
    ("audit", "export", "--target", "{org}"),
    ("db", "status"),
    ("db", "env"),
    ("db", "locks"),
    ("db", "migrate"),
    ("db", "rollback", "--dry-run"),
    ("db", "reset", "--dry-run", "--confirm", "{database}"),
    ("doctor", "--fields", "check,status"),
)


@pytest.fixture(scope="module")
def systems(
    postgres_url: str, target: Target, auth_keys: AuthKeys, tmp_path_factory: pytest.TempPathFactory
) -> Generator[ConfiguredSystem]:
    with configured_system(postgres_url, target, auth_keys, tmp_path_factory.mktemp("home")) as made:
        yield made


# -- what changes nothing -----------------------------------------------------------------------------------


def _settable(systems: ConfiguredSystem) -> dict[str, tuple[str, ...]]:
    """Every setting that any role may set, with values that it does not have."""
    found = dict(CHOICES)
    for row in systems.people.sql(
        "SELECT name, setting, enumvals FROM pg_settings WHERE context = 'user' AND vartype IN ('bool', 'enum')"
    ):
        others = row["enumvals"] or ["on", "off"]
        found.setdefault(row["name"], tuple(value for value in others if value != row["setting"]))
    known = {row["name"].lower() for row in systems.people.sql("SELECT name FROM pg_settings")}
    return {n: v for n, v in found.items() if n not in LIMITS and (n.lower() in known or "." in n) and v}


def _results(systems: ConfiguredSystem, names: Mapping[str, str], bazar: Bazar) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for words in COMMANDS:
        done = bazar(*(word.format(**names) for word in words), "-o", "json", "--no-input")
        found[" ".join(words)] = (done.code, json.loads(done.out) if done.out else done.err)
    return found


def test_no_setting_changes_a_result(systems: ConfiguredSystem) -> None:
    people = systems.people
    org = people.org(name="O'Hara \\ Łódź")
    user = people.user({org: Role.MEMBER}, name="Zoë \\x41 ✓")
    people.identity(user)
    names = {"user": user.email, "org": org.slug, "database": name_of(systems.url)}
    settable = _settable(systems)
    assert len(settable) > 60
    bazar = systems.bazar()
    bazar("orgs", "members", "update", org.slug, user.email, "--role", "admin").ok()
    bazar("users", "update", user.email, "--name", "O'Brien \\ Łódź").ok()
    expected = _results(systems, names, bazar)
    assert {code for code, _ in expected.values()} <= {0, 9}, expected
    for turn in range(ROUNDS):
        values = {name: choices[turn % len(choices)] for name, choices in settable.items()}
        with systems.set(values):
            found = _results(systems, names, bazar)
        assert found == expected, f"round {turn}"


# -- what ends a command is named ---------------------------------------------------------------------------


def _stopped(systems: ConfiguredSystem, error: psycopg.Error) -> BazarError:
    return translate(error, systems.people.target)


def test_statement_timeout_is_named(systems: ConfiguredSystem) -> None:
    with psycopg.connect(systems.url) as other, systems.set({"statement_timeout": "250ms"}, "ROLE {role}"):
        other.execute("LOCK TABLE bazar.users")
        done = systems.bazar()("users", "list", "-o", "json")
    assert (done.code, done.error["code"]) == (7, "postgres.busy")
    where = f"set on the role {systems.role}"
    assert f"it took longer than statement_timeout allows: 250ms, {where}" in done.error["message"]
    assert f'`ALTER ROLE "{systems.role}" SET statement_timeout = ...`' in done.error["hint"]
    set_ = {"setting": "statement_timeout", "value": "250ms", "set": f"on the role {systems.role}"}
    assert done.error["details"] == {"sqlstate": "57014", **set_}


def test_limit_of_the_url_is_named(systems: ConfiguredSystem) -> None:
    target = target_of(f"{systems.url}&options=-c%20statement_timeout%3D1ms")
    url = target.database_url.reveal()
    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.QueryCanceled) as cancelled:
        connection.execute("SELECT pg_sleep(30)")
    said = translate(cancelled.value, target)
    assert "statement_timeout allows: 1ms, set by the options of the URL" in said.message
    assert said.hint.endswith("allow more: change statement_timeout in the options of DATABASE_URL")


@pytest.mark.parametrize("value", ["1ms", "10ms"])
def test_limit_of_a_database_that_is_not_there_is_named(systems: ConfiguredSystem, value: str) -> None:
    target = target_of(sibling(systems.url, f"{name_of(systems.url)}_new"))
    with psycopg.connect(systems.url) as connection, pytest.raises(psycopg.errors.QueryCanceled) as cancelled:
        connection.execute("SET statement_timeout = '1ms'; SELECT pg_sleep(30)")
    with systems.set({"statement_timeout": value}, "ROLE {role}"):
        said = translate(cancelled.value, target)
    assert f"it took longer than statement_timeout allows: {value}, set on the role {systems.role}" in said.message


def test_cancelled_by_somebody_is_no_limit(systems: ConfiguredSystem) -> None:
    with systems.set({"statement_timeout": "40s"}), psycopg.connect(systems.url) as connection:
        with pytest.raises(psycopg.errors.QueryCanceled) as cancelled:
            connection.execute("SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(30)")
        said = _stopped(systems, cancelled.value)
    assert "another session cancelled its statement" in said.message
    assert "statement_timeout" not in f"{said.message}{said.hint}{said.details}"


IDLE = {
    "idle_in_transaction_session_timeout": "BEGIN",
    "idle_session_timeout": "SELECT 1",
    "transaction_timeout": "BEGIN",
}


@pytest.mark.parametrize("name", IDLE)
def test_session_that_ends_while_it_waits(systems: ConfiguredSystem, name: str) -> None:
    if not systems.people.sql("SELECT 1 FROM pg_settings WHERE name = %s", name):
        pytest.skip(f"this server has no {name}")
    with systems.set({name: "100ms"}), psycopg.connect(systems.url, autocommit=True) as connection:
        connection.execute(IDLE[name].encode())
        wait_for_the_server(connection)
        with pytest.raises(psycopg.Error) as ended:
            connection.execute("SELECT 1")
        said = _stopped(systems, ended.value)
    assert said.code == "postgres.busy"
    assert f"{name} allows: 100ms, set on the role {systems.role} in the database" in said.message


def test_read_that_waits_too_long_for_its_reader(systems: ConfiguredSystem) -> None:
    """As an export does that a pager holds up."""
    grant = granted(systems.people.operator(systems.ruler), STATUS)
    database = Database(systems.people.target)

    def read_slowly() -> None:
        with database.read(grant) as connection:
            wait_for_the_server(connection)
            connection.execute("SELECT 1")

    with systems.set({"idle_in_transaction_session_timeout": "200ms"}), pytest.raises(BazarError) as ended:
        read_slowly()
    database.close()
    assert ended.value.code == "postgres.busy"
    assert "idle_in_transaction_session_timeout allows: 200ms" in ended.value.message


def test_reason_that_cannot_be_asked_for(systems: ConfiguredSystem) -> None:
    """The server may be gone by then: the error says less, and comes at once."""
    with psycopg.connect(systems.url) as connection, pytest.raises(psycopg.errors.QueryCanceled) as cancelled:
        connection.execute("SET statement_timeout = '1ms'; SELECT pg_sleep(30)")
    said = translate(cancelled.value, target_of("postgresql://nobody@127.0.0.1:1/nowhere"))
    assert (said.code, said.exit_code) == ("postgres.busy", ExitCode.UNAVAILABLE)
    assert "statement_timeout ended it, or another session did" in said.message


def wait_for_the_server(connection: psycopg.Connection) -> None:
    """Wait until it says something unasked, as it does when it ends a session."""
    watch = select.poll()
    watch.register(connection.fileno(), select.POLLIN)
    assert watch.poll(30_000), "the session lives"
