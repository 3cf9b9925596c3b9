"""Connections for a Grant: what one of them sees."""

from __future__ import annotations

import pytest

from bazar_cli.adapters.postgres.connections import connect
from bazar_cli.adapters.postgres.rows import fetch_value
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.users import users as use_cases
from bazar_cli.domain.users.users import GetUser
from bazar_cli.services.gate.backends import Backends
from tests.support.people import REQUEST_ID, People, granted
from tests.support.postgres import target_of

_COUNT = "SELECT count(*) FROM bazar.users"


def test_a_read_sees_one_moment_and_the_next_one_another(database_url: str) -> None:
    with People(target_of(database_url)) as people, Backends(people.target, REQUEST_ID) as backends:
        grant = granted(people.operator(people.superuser()), use_cases.GET, GetUser("nobody@example.com"))
        with backends.database().read(grant) as connection:
            first = fetch_value(connection, _COUNT)
            people.user()
            assert fetch_value(connection, _COUNT) == first
        with backends.database().read(grant) as connection:
            assert fetch_value(connection, _COUNT) > first


def test_text_is_sent_as_utf_8_under_any_setting(database_url: str) -> None:
    elsewhere = f"{database_url}{'&' if '?' in database_url else '?'}client_encoding=latin1"
    with connect(Secret(elsewhere)) as connection:
        assert connection.execute("SELECT %s::text", ("\u0142",)).fetchone() == ("\u0142",)


def test_a_transaction_that_cannot_roll_back_is_closed(database_url: str) -> None:
    with People(target_of(database_url)) as people, Backends(people.target, REQUEST_ID) as backends:
        grant = granted(people.operator(people.superuser()), use_cases.GET, GetUser("nobody@example.com"))

        def interrupted() -> None:
            with backends.database().read(grant) as connection:
                # As when Ctrl-C comes while a statement is sent, and the server does not answer.
                connection.pgconn.send_query(b"SELECT pg_sleep(60)")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        with backends.database().read(grant) as another:
            assert fetch_value(another, _COUNT) > 0
