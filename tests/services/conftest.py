"""Fixtures of the use case tests: a superuser, a user, and a database of its own."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace

import pytest

from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.support.people import People, Someone


@pytest.fixture
def alone(target: Target, fresh_database: Callable[..., str]) -> Generator[People]:
    """People in a new database, with no superuser yet."""
    with People(replace(target, database_url=Secret(fresh_database(migrated=True)))) as arranged:
        yield arranged


@pytest.fixture
def ruler(people: People) -> Someone:
    """A superuser."""
    return people.superuser()


@pytest.fixture
def someone(people: People) -> Someone:
    """A user known to both systems."""
    return people.known_user(name="Ada")
