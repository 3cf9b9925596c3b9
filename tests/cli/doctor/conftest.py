"""A database and an Auth service for one module, empty at the start of each test."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from bazar_cli.devstack.auth.keys import AuthKeys
from tests.cli.doctor.support import stamp
from tests.support.auth_service import environment_of, running_auth_service
from tests.support.people import People, Someone
from tests.support.postgres import TEMPLATE, scratch_database, target_of


@pytest.fixture(scope="module")
def world(postgres_url: str, auth_keys: AuthKeys) -> Generator[People]:
    """A database and an Auth service that no other module uses."""
    with (
        scratch_database(postgres_url, TEMPLATE) as url,
        running_auth_service(environment_of(auth_keys, url)) as auth,
        People(target_of(url, auth, auth_keys.secret_key)) as people,
    ):
        yield people


@pytest.fixture
def emptied(world: People) -> People:
    """The same two systems, empty."""
    world.sql("TRUNCATE bazar.users, bazar.organizations CASCADE")
    world.sql("TRUNCATE auth.users CASCADE")
    return world


@pytest.fixture
def ruler(people: People) -> Someone:
    """A superuser in both systems."""
    someone = people.superuser()
    people.identity(someone, app_metadata=stamp(people))
    return someone
