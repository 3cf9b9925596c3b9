"""Both systems for one test: a migrated database without users, and an Auth service."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from bazar_cli.devstack.auth.keys import generate_keys
from tests.support.auth_service import environment_of, running_auth_service
from tests.support.cli import Bazar
from tests.support.people import People
from tests.support.postgres import TEMPLATE, scratch_database, target_of


@contextmanager
def separate_systems(postgres_url: str, home: Path) -> Generator[tuple[People, Bazar]]:
    """Lend the people of new systems, and `bazar` of a superuser, their only user."""
    keys = generate_keys()
    with (
        scratch_database(postgres_url, TEMPLATE) as database,
        running_auth_service(environment_of(keys, database)) as auth,
        People(target_of(database, auth, keys.secret_key)) as people,
    ):
        ruler = people.superuser()
        people.identity(ruler)
        yield people, Bazar(home).on(people.target).having(BAZAR_TOKEN=people.access_token(ruler))
