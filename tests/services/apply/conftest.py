"""Fixtures of the tests of declared states: a database for each module, and its only superuser."""

from __future__ import annotations

import pytest

from tests.support.people import People, Someone


@pytest.fixture(scope="module")
def people(apart: People) -> People:
    """A database of the module; the Auth service has another one, so that its identities are read by its API."""
    return apart


@pytest.fixture(scope="module")
def root(people: People) -> Someone:
    """The only superuser."""
    return people.known_superuser()
