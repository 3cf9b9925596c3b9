"""Fixtures of the tests of `db`: each has its own database."""

from __future__ import annotations

import pytest

from tests.support.people import People


@pytest.fixture
def people(alone: People) -> People:
    """People in a new database, marked local and unprotected."""
    return alone
