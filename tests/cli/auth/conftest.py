"""What the tests of signing in and out share."""

from __future__ import annotations

import pytest

from tests.support.people import People, Someone


@pytest.fixture
def member(people: People) -> Someone:
    """A user on Free, known to both systems."""
    made = people.user()
    people.identity(made)
    return made


@pytest.fixture
def root(people: People) -> Someone:
    """A superuser on Premium, known to both systems."""
    made = people.superuser()
    people.identity(made)
    return made
