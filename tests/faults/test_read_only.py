"""A database that takes no writes, as Supabase sets it when the disk is almost full, and a standby server.

What writes is refused with the reason before anything happens in either system; what reads goes on.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from bazar_cli.adapters.postgres.server import Server
from bazar_cli.devstack.auth.keys import AuthKeys
from bazar_cli.domain.db.migrations import ReadOnly
from bazar_cli.domain.errors import BackendUnavailable
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.support.cli import Bazar, Done
from tests.support.configured_system import ConfiguredSystem, configured_system
from tests.support.expected_changes import EXPECTED_CHANGES
from tests.support.matrix import Row, matrix
from tests.support.matrix_runner import MatrixRunner
from tests.support.people import OLD_PASSWORD, People, an_address
from tests.support.postgres import TEMPLATE, ScratchPostgres, name_of, sibling, target_of

SETTING = "default_transaction_read_only"
ON = {SETTING: "on"}
REFUSED = (7, "postgres.read_only")
OPERATOR = "premium/superuser"


@pytest.fixture(scope="module")
def systems(
    postgres_url: str, target: Target, auth_keys: AuthKeys, tmp_path_factory: pytest.TempPathFactory
) -> Generator[ConfiguredSystem]:
    with configured_system(postgres_url, target, auth_keys, tmp_path_factory.mktemp("home")) as made:
        yield made


def ended(done: Done) -> tuple[int, str]:
    return done.code, done.error["code"] if done.code else ""


_NOTHING_TO_DO = {"db create", "db locks", "db migrate"}
"""Commands that write in other surroundings."""

# -- every command ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runner(systems: ConfiguredSystem, tmp_path_factory: pytest.TempPathFactory) -> MatrixRunner:
    return MatrixRunner(systems.people, tmp_path_factory.mktemp("homes"))


def _one_row_each() -> dict[str, Row]:
    """Of each command one line that does something for a superuser; those of sign-ins last, as they end sessions."""
    rows: dict[str, Row] = {}
    for row in sorted(matrix().rows.values(), key=lambda row: row.command.startswith("auth ")):
        if row.cells[OPERATOR].exit_code == 0 and "--dry-run" not in row.line and row.command != "auth logout":
            rows.setdefault(row.command, row)
    return rows


def test_every_command_reads_or_is_refused(systems: ConfiguredSystem, runner: MatrixRunner) -> None:
    """Nothing is written through the setting, and nothing is begun at Supabase that Postgres could not note."""
    wrong: list[str] = []
    with systems.set(ON):
        for row in _one_row_each().values():
            result = runner.run_row(row, OPERATOR)
            found, done = ended(result.done) if result.done.code != 9 else (0, ""), result.done
            writes = (
                row.command in EXPECTED_CHANGES
                and row.command not in _NOTHING_TO_DO
                and not row.command.startswith("auth ")
            )
            if found != REFUSED and (writes or found != (0, "")):
                wrong.append(f"{row.line}: {found} {done.err}")
            rows = [t for t in result.before if t.startswith("bazar.") or not row.command.startswith("auth ")]
            wrong += [f"{row.line} changed {t}" for t in rows if result.before[t] != result.after[t]]
    assert not wrong, "\n".join(wrong)


def test_bootstrap_makes_no_identity(systems: ConfiguredSystem, tmp_path: Path) -> None:
    email = an_address("first")
    first = Bazar(tmp_path).on(systems.people.target)
    first = first.having(SUPERUSER_EMAIL=email, SUPERUSER_PASSWORD=OLD_PASSWORD)
    systems.people.sql("UPDATE bazar.users SET is_superuser = false WHERE is_superuser")
    try:
        with systems.set(ON):
            assert ended(first("db", "migrate", "--no-input", "-o", "json")) == REFUSED
            assert ended(first("auth", "login", "--no-input", "-o", "json")) != (0, "")
        assert systems.people.identities(email) == []
        name = f"{name_of(systems.url)}_new"
        new = first.having(DATABASE_URL=sibling(systems.url, name))
        with systems.set(ON, "ROLE {role}"):
            assert ended(new("db", "create", "--no-input", "-o", "json")) == REFUSED
        assert systems.people.identities(email) == []
    finally:
        systems.people.sql("UPDATE bazar.users SET is_superuser = true WHERE id = %s", systems.ruler.id)


# -- what it says -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("DATABASE {database}", "on the database {database}"),
        ("ROLE {role}", "on the role {role}"),
        ("ROLE {role} IN DATABASE {database}", "on the role {role} in the database {database}"),
    ],
)
def test_where_it_was_set(systems: ConfiguredSystem, place: str, said: str) -> None:
    names = {"database": name_of(systems.url), "role": systems.role}
    bazar = systems.bazar()
    with systems.set(ON, place):
        done = bazar("users", "create", email := an_address(), "-o", "json")
        status = bazar("db", "status", "-o", "json")
        assert systems.people.identities(email) == []
        # What it says to do can be done, in a session that has the setting too.
        with psycopg.connect(systems.url, autocommit=True) as connection:
            for statement in done.error["hint"].split("`")[1].split("; "):
                connection.execute(statement.encode())
        bazar("users", "create", email, "-o", "json").ok()
    assert ended(done) == REFUSED
    error = done.error
    reason, where = "default_transaction_read_only", said.format(**names)
    assert error["message"].startswith(f"the database takes no writes: {reason} is on, set {where}; ")
    assert error["hint"].startswith("Supabase sets it when the disk is almost full: ")
    assert (error["details"]["reason"], error["details"]["set"]) == (reason, where)
    assert status.code == 0
    assert status.json["read_only"] == {"reason": reason, "set": where}
    assert f"takes no writes: {reason} is on, set {where}" in status.err


def test_where_it_was_set_for_a_database_that_is_not_there(systems: ConfiguredSystem) -> None:
    server = Server(target_of(sibling(systems.url, f"{name_of(systems.url)}_new")))
    with systems.set(ON, "ROLE {role}"), pytest.raises(BackendUnavailable) as refused:
        server.create()
    assert refused.value.details["set"] == f"on the role {systems.role}"
    assert f'ALTER ROLE "{systems.role}" RESET {SETTING}' in refused.value.hint


def test_options_of_the_url_go_on(systems: ConfiguredSystem) -> None:
    """Who must write all the same says so, in the one place that is theirs."""
    with systems.set(ON):
        override = f"{systems.url}&options=-c%20{SETTING}%3Doff"
        systems.bazar().having(DATABASE_URL=override)("orgs", "create", "Urgent", "-o", "json").ok()


def test_doctor_warns(systems: ConfiguredSystem) -> None:
    with systems.set(ON):
        done = systems.bazar()("doctor", "-o", "json")
    checks = {check["check"]: check for check in done.json["items"]}
    assert (done.code, checks["writable"]["status"]) == (9, "warning")
    assert "set on the role" in checks["writable"]["detail"]
    assert "disk" in checks["writable"]["remedy"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("db", "rollback"), "; nothing is rolled back"),
        (("db", "redo", "--yes"), "; nothing is rolled back"),
        (("db", "reset", "--confirm", "{database}"), "; nothing was done"),
        (("db", "reset", "--confirm", "{database}", "--dry-run"), "; nothing was done"),
    ],
)
def test_migrations_say_that_nothing_was_done(systems: ConfiguredSystem, words: tuple[str, ...], said: str) -> None:
    """Before anybody is asked to agree; a dry run of a reset tries it."""
    bazar, before = systems.bazar(), systems.people.everything()
    with systems.set(ON):
        done = bazar(*(w.format(database=name_of(systems.url)) for w in words), "-o", "json")
    assert ended(done) == REFUSED
    assert done.error["message"].endswith(said)
    assert (len(done.err.splitlines()) == 1) is ("--dry-run" not in words)
    assert systems.people.everything() == before


def test_denial_is_reported_as_a_denial(systems: ConfiguredSystem) -> None:
    """It cannot be recorded, and is said as what it is; so reads that are denied are."""
    someone = systems.people.user()
    systems.people.identity(someone)
    as_someone = systems.bazar().having(BAZAR_TOKEN=systems.people.access_token(someone))
    with systems.set(ON):
        done = as_someone("audit", "list", "-o", "json")
    assert ended(done) == (5, "access.plan")
    assert "audit log does not have this denial" in done.error["hint"]


def test_session_is_not_ended_without_an_event(systems: ConfiguredSystem) -> None:
    with psycopg.connect(systems.url) as other, systems.set(ON):
        other.execute("LOCK TABLE bazar.plans IN SHARE MODE")
        pid = str(other.info.backend_pid)
        done = systems.bazar()("db", "locks", "--terminate", pid, "--yes", "-o", "json")
        assert ended(done) == REFUSED
        assert other.execute("SELECT 1").fetchone() == (1,)


# -- a standby ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def standby(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Generator[Bazar]:
    """`bazar` as a superuser of a database on a standby; the Auth service is elsewhere, and writes."""
    server = ScratchPostgres()
    try:
        url = sibling(server.start(), TEMPLATE)
        with People(replace(target, database_url=Secret(url))) as people:
            ruler = people.superuser()
            people.identity(ruler)
            token = people.access_token(ruler)
        server.become_standby()
        yield Bazar(tmp_path_factory.mktemp("home")).on(people.target).having(BAZAR_TOKEN=token)
    finally:
        server.stop()


def test_standby_reads(standby: Bazar) -> None:
    assert standby("users", "list", "-o", "json").ok().json["items"]
    standby("audit", "list", "-o", "json").ok()
    status = standby("db", "status", "-o", "json").ok()
    assert status.json["read_only"] == {"reason": "standby", "set": None}
    assert "target_session_attrs=read-write" in status.err
    check = next(c for c in standby("doctor", "-o", "json").json["items"] if c["check"] == "writable")
    assert (check["status"], check["detail"]) == ("warning", "the database takes no writes: its server is a standby")


@pytest.mark.parametrize(
    "words",
    [
        ("users", "create", "new@example.com"),
        ("orgs", "create", "New"),
        ("audit", "verify"),
        ("db", "rollback", "--yes"),
        ("db", "reset", "--confirm", TEMPLATE),
        ("db", "env", "set", "test", "--unprotected", "--confirm", TEMPLATE),
        ("db", "drop", "--confirm", TEMPLATE),
    ],
    ids=" ".join,
)
def test_standby_refuses(standby: Bazar, target: Target, words: tuple[str, ...]) -> None:
    done = standby(*words, "-o", "json")
    assert ended(done) == REFUSED
    assert "its server is a standby" in done.error["message"]
    assert "target_session_attrs=read-write" in done.error["hint"]
    assert done.error["details"]["reason"] == "standby"
    with People(target) as people:
        assert people.identities("new@example.com") == []


def test_url_that_asks_for_a_primary(standby: Bazar) -> None:
    """libpq connects to no standby then, and the reason is the same."""
    url = f"{standby.environ['DATABASE_URL']}&target_session_attrs=read-write"
    done = standby.having(DATABASE_URL=url)("users", "list", "-o", "json")
    assert ended(done) == REFUSED
    assert "its server is a standby" in done.error["message"]


def test_serializable_by_default_on_a_standby(standby: Bazar) -> None:
    """A standby refuses serializable transactions with another error code; bazar opens none."""
    url = f"{standby.environ['DATABASE_URL']}&options=-c%20default_transaction_isolation%3Dserializable"
    serializable = standby.having(DATABASE_URL=url)
    serializable("db", "status", "-o", "json").ok()
    assert ended(serializable("orgs", "create", "New", "-o", "json")) == REFUSED


def test_unknown_reason() -> None:
    """Where the server does not answer once more, the error says what is known."""
    found = ReadOnly()
    assert found.text == "default_transaction_read_only is on"
    assert found.remedy("DATABASE_URL").endswith("take it back where it was set")
