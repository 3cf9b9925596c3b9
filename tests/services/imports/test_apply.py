"""New users of a run, through the API and by SQL."""

from __future__ import annotations

import pytest

from bazar_cli.domain.imports.imports import Via
from tests.support.imports import Importing, Row, rows
from tests.support.people import People, Someone

BOTH = pytest.mark.parametrize("via", list(Via))


@pytest.fixture
def importing(people: People, root: Someone) -> Importing:
    """Imports of a superuser."""
    return Importing(people, root)


@BOTH
def test_new_users_are_in_both_systems(importing: Importing, people: People, via: Via) -> None:
    file = [Row(name="Ada", plan="plus"), Row(password_hash=None), *rows(10)]
    run = importing.stage(file, via)
    importing.apply(run)
    importing.assert_exact(run, file)
