"""Exports: the rows that Postgres writes are those of the views, byte for byte."""

from __future__ import annotations

import io
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bazar_cli.adapters.postgres.connections import Connection, begin, connect
from bazar_cli.adapters.postgres.orgs import organizations
from bazar_cli.adapters.postgres.users import users
from bazar_cli.domain.authz.spec import Reach
from bazar_cli.domain.entities import Membership, Pending, Plan, Role, User, UserState
from bazar_cli.domain.exports import RowFormat, WantedRows
from bazar_cli.domain.page import Page
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.users.users import EXPORT
from bazar_cli.services.users import read
from bazar_cli.terminal.output import Format, Renderer
from bazar_cli.terminal.views.base import View
from bazar_cli.terminal.views.orgs import ORGANIZATION
from bazar_cli.terminal.views.users import USER
from tests.support.hostile_text import ARGUMENTS
from tests.support.people import People
from tests.support.postgres import drop_database, migrate, sibling

SIGNS = "=+-@\uff1d\uff0b\uff20'\"a1 ;,\\/<&\t\r\n\x01\x0b\x1f\x7f\x85\xa0\xad\u200b\u2028\u202e\u3000\ufeff\U0001f469"
TEXTS = st.text(st.sampled_from(SIGNS), max_size=12) | ARGUMENTS.filter(
    lambda text: text.encode(errors="replace").decode() == text
)
UTC = st.just(timezone.utc)
TIMES = st.datetimes(timezones=UTC) | st.tuples(st.datetimes(timezones=UTC), st.sampled_from([0, 1, 500_000])).map(
    lambda pair: pair[0].replace(microsecond=pair[1])
)
USERS = st.builds(
    User,
    id=st.uuids(),
    email=TEXTS,
    name=st.none() | TEXTS,
    plan=st.sampled_from(Plan),
    state=st.sampled_from(UserState),
    pending=st.none() | st.sampled_from(Pending),
    is_superuser=st.booleans(),
    organizations=st.lists(
        st.builds(Membership, st.just(uuid.uuid4()), st.sampled_from(["a", "b-1", "c"]), st.sampled_from(Role)),
        unique_by=lambda membership: membership.slug,
    ).map(tuple),
    created_at=TIMES,
    updated_at=TIMES,
)
NOW = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
ADA = User(
    id=uuid.UUID(int=1),
    email="ada@example.com",
    name="\uff1d1",
    plan=Plan.FREE,
    state=UserState.ACTIVE,
    pending=None,
    is_superuser=False,
    organizations=(),
    created_at=NOW,
    updated_at=NOW,
)


@pytest.fixture(scope="module")
def connection(apart: People) -> Generator[Connection]:
    """A connection to a database that takes any text."""
    with connect(apart.target.database_url, autocommit=True) as opened:
        opened.execute("ALTER TABLE bazar.users DROP CONSTRAINT users_email_check")
        opened.execute("DROP INDEX bazar.users_email_key, bazar.users_email_id_idx")
        yield opened


@contextmanager
def stored(connection: Connection, rows: list[User]) -> Generator[dict[str, uuid.UUID]]:
    """Store users and their organizations for the block; lend the ids of the organizations."""
    connection.execute(begin(read_only=False))
    try:
        slugs = {"a": "=A", "b-1": "\u202eb", "c": 'C "c", c'}
        ids = {slug: uuid.uuid4() for slug in slugs}
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO bazar.organizations VALUES (%s, %s, %s, %s, %s)",
                [(ids[slug], slug, name, NOW, NOW) for slug, name in slugs.items()],
            )
            cursor.executemany(
                "INSERT INTO bazar.users (id, email, name, plan, state, pending, is_superuser, created_at, updated_at)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
                [
                    (u.id, u.email, u.name, u.plan.value, u.state.value, u.pending and u.pending.value, *rest)
                    for u in rows
                    for rest in [(u.is_superuser, u.created_at, u.updated_at)]
                ],
            )
            cursor.executemany(
                "INSERT INTO bazar.memberships VALUES (%s, %s, %s)",
                [(ids[m.slug], u.id, m.role.value) for u in rows for m in u.organizations],
            )
        yield ids
    finally:
        connection.rollback()


class Terminal(io.StringIO):
    """A stream on which data is shown with escapes."""

    def isatty(self) -> bool:
        return True


def compare(connection: Connection, reach: Reach, fields_of_users: tuple[str, ...], stream: type[io.StringIO]) -> None:
    """Compare the exports of users and organizations in all formats."""
    kinds: list[tuple[Any, View[Any], tuple[str, ...]]] = [
        (users, USER, fields_of_users),
        (organizations, ORGANIZATION, ORGANIZATION.fields),
    ]
    for repository, view, names in kinds:
        for form in RowFormat:
            by_view, by_postgres = stream(newline=""), stream(newline="")
            pages = (Page(batch, None) for batch in repository.stream(connection, reach))
            Renderer(Format(form.value), names, {}, by_view).pages(view, pages)
            texts = repository.texts(connection, reach, WantedRows(form, names))
            Renderer(Format(form.value), names, {}, by_postgres).written(view, texts)
            assert by_postgres.getvalue() == by_view.getvalue()


@given(
    rows=st.lists(USERS, max_size=8, unique_by=lambda user: user.id),
    names=st.just(USER.fields) | st.lists(st.sampled_from(USER.fields), min_size=1, max_size=12).map(tuple),
    everything=st.booleans(),
    stream=st.sampled_from([io.StringIO, Terminal]),
)
@example(rows=[], names=USER.fields, everything=True, stream=io.StringIO)
@example(rows=[ADA], names=("name",), everything=True, stream=io.StringIO)
@example(rows=[ADA], names=("pending",), everything=False, stream=io.StringIO)
@example(rows=[ADA], names=("id", "id", "email", "id"), everything=True, stream=io.StringIO)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_rows_of_postgres_are_those_of_the_views(
    connection: Connection, rows: list[User], names: tuple[str, ...], everything: bool, stream: type[io.StringIO]
) -> None:
    with stored(connection, rows) as ids:
        of_operator = tuple(Membership(ids[slug], slug, Role.ADMIN) for slug in ("a", "c"))
        oneself = rows[0].id if rows else uuid.uuid4()
        compare(connection, Reach(everything, oneself, of_operator), names, stream)


def test_views_write_the_rows_of_a_database_with_other_characters(people: People, postgres_url: str) -> None:
    """In such a database a pattern of Postgres does not find every formula."""
    name = f"japanese_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgres_url, autocommit=True) as server:
        options = "TEMPLATE template0 ENCODING 'EUC_JP' LOCALE_PROVIDER libc LOCALE 'C'"
        server.execute(f"CREATE DATABASE {name} {options}".encode())
    try:
        url = sibling(postgres_url, name)
        migrate(url)
        with People(replace(people.target, database_url=Secret(url))) as others:
            others.user(name="\uff1d1")
            ruler, wanted = others.superuser(), WantedRows(RowFormat.CSV, ("name",))
            [page] = others.run(
                ruler, lambda backends, grant, asked: list(read.export(backends, grant, asked)), EXPORT, wanted
            )
        assert isinstance(page, Page)
        assert "\uff1d1" in [user.name for user in page.items]
    finally:
        drop_database(postgres_url, name)
