"""Migrations by way of a real PgBouncer: refused where it pools transactions, by what it does and not by its port."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from bazar_cli.adapters.migrations.migrator import Migrator
from bazar_cli.adapters.postgres.migration_lock import KEY
from bazar_cli.domain.db.migrations import Migrate
from bazar_cli.domain.errors import Refused
from tests.support.pgbouncer import MISSING, PROGRAM, pooled
from tests.support.postgres import target_of
from tests.support.release import Release

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)
Databases = Callable[..., str]


def migrate(url: str) -> str | None:
    return Migrator(target_of(url)).migrate(Migrate(), lambda _text: None).current


def has_schema(url: str) -> bool:
    with psycopg.connect(url) as connection:
        [(there,)] = connection.execute("SELECT to_regnamespace('bazar') IS NOT NULL").fetchall()
    return bool(there)


@pytest.mark.parametrize(("size", "round_robin"), [(1, False), (2, False), (4, False), (2, True), (4, True)])
def test_pooled_transactions_are_refused_before_anything_is_written(
    fresh_database: Databases, size: int, round_robin: bool
) -> None:
    url = fresh_database()
    with pooled(url, "transaction", size=size, round_robin=round_robin) as by_pooler:
        # Processes that idle in the pool, as on a pooler that others use.
        idle = [psycopg.connect(by_pooler) for _ in range(size)]
        for connection in idle:
            connection.execute("SELECT 1")
        for connection in idle:
            connection.close()

        with pytest.raises(Refused) as refused:
            migrate(by_pooler)

        assert refused.value.code == "db.transaction_pooler"
        assert not has_schema(url)
        with psycopg.connect(by_pooler, autocommit=True) as connection:
            left = "SELECT current_setting('bazar.environment', true), current_setting('lock_timeout')"
            assert connection.execute(left.encode()).fetchall() == [(None, "0")], "nothing is set for others"


@pytest.mark.parametrize("size", [1, 4])
def test_pooled_sessions_migrate(fresh_database: Databases, size: int) -> None:
    url = fresh_database()
    with pooled(url, "session", size=size) as by_pooler:
        assert migrate(by_pooler) == migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute("SELECT pg_try_advisory_lock(%s)", (KEY,)).fetchall() == [(True,)]


def test_plain_alembic_refuses_pooled_transactions_too(fresh_database: Databases, tmp_path: Path) -> None:
    url = fresh_database()
    with pooled(url, "transaction") as by_pooler:
        done = Release(tmp_path / "release").alembic(by_pooler, "upgrade", "head")

    assert done.code != 0
    assert "transaction pooler" in done.err + done.out
    assert not has_schema(url)
