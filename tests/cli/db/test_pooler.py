"""`bazar` by way of a real PgBouncer that pools transactions, over fewer connections than there are commands."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest

from bazar_cli.domain.entities import Plan
from bazar_cli.domain.target import Target
from tests.cli.db.conftest import On, has_schema
from tests.support.cli import Bazar, Done
from tests.support.people import People, Someone, an_address
from tests.support.pgbouncer import MISSING, PROGRAM, pooled

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)
SERVERS = 2
_OF_THE_POOLER = {"application_name", "client_encoding", "DateStyle", "IntervalStyle", "TimeZone"}
_LEFT = """
    SELECT pg_backend_pid(), (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_cursors),
           (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'),
           ARRAY(SELECT name FROM pg_settings WHERE source = 'session')
"""


@pytest.fixture(params=["transaction", "session"])
def by_pooler(embedded_target: Target, request: pytest.FixtureRequest) -> Generator[str]:
    """The worker's database by way of a pooler with two connections."""
    with pooled(embedded_target.database_url.reveal(), request.param, size=SERVERS) as url:
        yield url


def assert_nothing_left(url: str) -> None:
    """Look into each of the pooler's connections for what a command left there."""
    seen: set[int] = set()
    with ExitStack() as stack:
        for _ in range(SERVERS):
            connection = stack.enter_context(psycopg.connect(url, prepare_threshold=None))
            # In a transaction that stays open, so that the next one gets another process.
            [(process, *counts, settings)] = connection.execute(_LEFT).fetchall()
            assert (counts, set(settings) - _OF_THE_POOLER) == ([0, 0, 0], set())
            seen.add(process)
    assert len(seen) == SERVERS


def test_six_commands_at_once_over_two_connections(
    as_user: Callable[[Someone], Bazar], people: People, by_pooler: str
) -> None:
    org = people.org()
    operator = people.superuser()
    other = people.user({}, name="Before", plan=Plan.PLUS)
    people.identity(other)
    bazar = as_user(operator).having(DATABASE_URL=by_pooler)
    email, slug = an_address(), f"{org.slug}-more"

    def run(words: tuple[str, ...]) -> Done:
        return bazar(*words, "-o", "json")

    commands = (
        ("users", "create", email, "--org", org.slug),
        ("users", "get", other.email),
        ("users", "list", "--all"),
        ("users", "update", other.email, "--name", "After"),
        ("orgs", "create", "More", "--slug", slug),
        ("plans", "check", "users:create"),
    )
    with ThreadPoolExecutor(len(commands)) as pool:
        made, got, listed, updated, founded, checked = (done.ok() for done in pool.map(run, commands))
        # What streams by a cursor, and what locks, beside each other once more.
        again = (("audit", "export"), ("audit", "verify"), ("users", "delete", email, "--confirm", email))
        exported, verified, deleted = (done.ok() for done in pool.map(run, again))

    assert (made.json["email"], got.json["email"]) == (email, other.email)
    assert other.email in {item["email"] for item in listed.json["items"]}
    assert (updated.json["name"], founded.json["slug"]) == ("After", slug)
    assert checked.json["allowed"] is True
    assert "users.update" in exported.out
    assert verified.code == deleted.code == 0
    assert people.identities(email) == []
    assert_nothing_left(by_pooler)


def test_migrating_is_refused_until_it_has_a_connection_of_its_own(
    first: On, fresh_database: Callable[..., str]
) -> None:
    url = fresh_database()
    with pooled(url, "transaction", size=SERVERS) as pooled_url:
        bazar = first(pooled_url).having(BAZAR_NO_INPUT="1")
        refused = bazar("db", "migrate", "-o", "json")
        assert (refused.code, refused.out, refused.error["code"]) == (10, "", "db.transaction_pooler")
        assert "DATABASE_MIGRATION_URL" in refused.error["hint"]
        assert not has_schema(url)
        direct = bazar.having(DATABASE_MIGRATION_URL=url)
        assert direct("db", "migrate", "-o", "json").ok().json["pending"] == []
        # Where nothing is pending nothing is locked.
        for words in (("migrate",), ("status", "--check"), ("current",), ("env",), ("locks",)):
            bazar("db", *words).ok()
        assert bazar("users", "me", "-o", "json").ok().json["is_superuser"] is True
        assert_nothing_left(pooled_url)
