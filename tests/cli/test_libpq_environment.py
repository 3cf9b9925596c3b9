"""What the shell holds for libpq counts for nothing: a target's database is where its URL says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.db.test_alembic import alembic
from tests.support.cli import Bazar
from tests.support.people import People, Someone

ELSEWHERE = {
    "PGHOSTADDR": "127.0.0.1",
    "PGHOST": "127.0.0.1",
    "PGPORT": "1",
    "PGSERVICE": "zzz",
    "PGSERVICEFILE": "/nowhere/service.conf",
    "PGSSLMODE": "verify-full",
    "PGOPTIONS": "-c search_path=nowhere -c nonsense=1",
    "PGUSER": "nobody",
    "PGDATABASE": "nowhere",
    "PGPASSFILE": "/nowhere/passwords",
    "PGREQUIREAUTH": "scram-sha-256",
    "PGCONNECT_TIMEOUT": "no number",
}
WAYS = ("db status", "db migrate", "db wait", "doctor", "auth status")


@pytest.fixture
def agent(signed_out: Bazar, people: People) -> Bazar:
    """`bazar` signed in as a superuser, the address of the database in full."""
    root: Someone = people.superuser()
    people.identity(root)
    return signed_out.having(BAZAR_TOKEN=people.access_token(root))


@pytest.mark.parametrize("name", ELSEWHERE)
def test_no_variable_changes_the_database(agent: Bazar, name: str) -> None:
    agent.having(**{name: ELSEWHERE[name]})("users", "me").ok()


@pytest.mark.parametrize("words", WAYS)
def test_every_way_to_the_database_keeps_to_the_url(agent: Bazar, words: str) -> None:
    shown = agent.having(**ELSEWHERE)(*words.split(), "-o", "json")
    assert "not reachable" not in shown.out + shown.err
    assert shown.code in {0, 9}


def test_a_url_without_a_host_is_no_way_to_another_one(agent: Bazar) -> None:
    bazar = agent.having(**{**ELSEWHERE, "DATABASE_URL": "postgresql://u:p@/x"})
    done = bazar("users", "me", "-o", "json")
    assert done.error["code"] == "postgres.unavailable"
    assert "127.0.0.1" not in done.err


def test_plain_alembic_keeps_to_the_url(fresh_database: Callable[..., str]) -> None:
    url = fresh_database(migrated=True)
    done = alembic(url, "current", **ELSEWHERE)
    assert (done.returncode, "(head)" in done.stdout) == (0, True), done.stderr
