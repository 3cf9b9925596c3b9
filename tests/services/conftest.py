"""Fixtures of the use case tests: a superuser, a user, and a database of its own."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace

import pytest

from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.support.people import People, Someone
from tests.support.postgres import TEMPLATE, scratch_database


@pytest.fixture
def alone(target: Target, fresh_database: Callable[..., str]) -> Generator[People]:
    """People in a new database, with no superuser yet."""
    with People(replace(target, database_url=Secret(fresh_database(migrated=True)))) as arranged:
        yield arranged


@pytest.fixture(scope="module")
def apart(target: Target, postgres_url: str) -> Generator[People]:
    """People in a database that the tests of one module share, with no superuser yet."""
    with (
        scratch_database(postgres_url, TEMPLATE) as url,
        People(replace(target, database_url=Secret(url))) as arranged,
    ):
        yield arranged


@pytest.fixture
def ruler(people: People) -> Someone:
    """A superuser."""
    return people.superuser()


@pytest.fixture
def someone(people: People) -> Someone:
    """A user known to both systems."""
    return people.known_user(name="Ada")
