"""Fixtures of the tests of `db reset`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator
from dataclasses import replace

import psycopg
import pytest

from bazar_cli.adapters.migrations.migrator import Migrator
from bazar_cli.domain.db.migrations import Migrate
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.support.people import People
from tests.support.postgres import name_of

Databases = Callable[..., str]


@pytest.fixture
def plain(target: Target, fresh_database: Databases) -> Generator[People]:
    """People in a database that a role without any attribute migrated, and as which they write."""
    url, role = fresh_database(), f"t_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role}; GRANT CREATE ON SCHEMA public TO {role}".encode())
        owner.execute(f'GRANT CREATE ON DATABASE "{name_of(url)}" TO {role}'.encode())
        try:
            limited = replace(target, database_url=Secret(f"{url}{'&' if '?' in url else '?'}options=-crole%3D{role}"))
            Migrator(limited).migrate(Migrate(environment="tests", protected=False), lambda _text: None)
            with People(limited) as people:
                yield people
        finally:
            owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())
