"""Fixtures of the `db` tests: a first superuser, and the schema of a database."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from bazar_cli.domain.demo.data import DEMO
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.support.cli import Bazar
from tests.support.people import OLD_PASSWORD, People

Schema = dict[str, list[tuple[Any, ...]]]
_SHAPE = {
    "tables": "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'bazar'",
    "columns": (
        "SELECT table_name, column_name, ordinal_position, column_default, is_nullable, data_type, is_identity"
        " FROM information_schema.columns WHERE table_schema = 'bazar'"
    ),
    "constraints": (
        "SELECT conrelid::regclass::text, conname, contype::text, pg_get_constraintdef(oid)"
        " FROM pg_constraint WHERE connamespace = 'bazar'::regnamespace"
    ),
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'bazar'",
    "protection": (
        "SELECT relname, relrowsecurity, relacl::text, reloptions::text"
        " FROM pg_class WHERE relnamespace = 'bazar'::regnamespace AND relkind IN ('r', 'v')"
    ),
    "revision": "SELECT version_num FROM bazar.alembic_version",
    "plans": "SELECT * FROM bazar.plan_permissions",
}


def schema_of(url: str) -> Schema:
    """Everything that migrations make, in an order that can be compared."""
    with psycopg.connect(url) as connection:
        return {what: sorted(connection.execute(query.encode()).fetchall()) for what, query in _SHAPE.items()}


def marker_of(url: str) -> tuple[str, bool]:
    """What a database says of itself: its environment, and whether it is protected."""
    with psycopg.connect(url) as connection:
        (row,) = connection.execute("SELECT environment, protected FROM bazar.deployment").fetchall()
    return row


def has_schema(url: str) -> bool:
    """Say whether a database has the schema `bazar`."""
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'bazar'").fetchone()
    return found is not None


On = Callable[[str], Bazar]


@pytest.fixture
def first(nobody: Bazar, target: Target, unique_email: Callable[[str], str]) -> On:
    """`bazar` on a database, with the credentials of a first superuser that Supabase does not have yet."""

    def on(url: str) -> Bazar:
        credentials = {"SUPERUSER_EMAIL": unique_email("First"), "SUPERUSER_PASSWORD": "first-superuser"}
        return nobody.on(replace(target, database_url=Secret(url))).having(**credentials)

    return on


@pytest.fixture
def known(first: On, people: People) -> On:
    """The same with a first superuser that Supabase has: commands that only read need one."""
    someone = people.user()
    people.identity(someone)
    return lambda url: first(url).having(SUPERUSER_EMAIL=someone.email, SUPERUSER_PASSWORD=OLD_PASSWORD)


@contextmanager
def people_apart(target: Target, url: str) -> Generator[People]:
    """Yield the people of a migrated database with its own deployment id.

    All copies of the template have one id, and --identities would delete the identities of all.
    """
    with People(replace(target, database_url=Secret(url))) as apart:
        apart.sql("UPDATE bazar.deployment SET id = gen_random_uuid()")
        yield apart


def as_ruler(bazar: Bazar, apart: People) -> Bazar:
    """`bazar` as the only superuser of that database."""
    someone = apart.superuser()
    apart.identity(someone)
    return bazar.on(apart.target).having(BAZAR_TOKEN=apart.access_token(someone))


@pytest.fixture
def without_demo(people: People) -> Generator[None]:
    """Leave no identity of the demo set at the Auth service, which other databases of this worker share."""
    yield
    for user in DEMO.users:
        for identity in people.identities(user.email):
            people.auth("DELETE", f"/admin/users/{identity['id']}").raise_for_status()
