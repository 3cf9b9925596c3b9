"""What the fault tests share: people, and `bazar` signed in as a superuser."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from bazar_cli.domain.target import Target
from tests.support.cli import Bazar
from tests.support.people import People


@pytest.fixture
def people(target: Target) -> Generator[People]:
    """The users of this worker's target."""
    with People(target) as found:
        yield found


@pytest.fixture
def admin(tmp_path: Path, target: Target, people: People) -> Bazar:
    """`bazar` signed in as a superuser."""
    someone = people.superuser()
    people.identity(someone)
    return Bazar(tmp_path / "home").on(target).having(BAZAR_TOKEN=people.access_token(someone))
