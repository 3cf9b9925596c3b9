"""What the tests of signing in and out share."""

from __future__ import annotations

import pytest

from tests.support.people import People, Someone


@pytest.fixture
def member(people: People) -> Someone:
    """A user on Free, known to both systems."""
    return people.known_user()
