"""Fixtures of the command tests: `bazar` signed out, and signed in as a user."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bazar_cli.domain.target import Target
from tests.support.cli import Bazar
from tests.support.people import People, Someone


@pytest.fixture
def nobody(tmp_path: Path) -> Bazar:
    """`bazar` without any target."""
    return Bazar(tmp_path / "home")


@pytest.fixture
def signed_out(nobody: Bazar, target: Target) -> Bazar:
    """`bazar` on the target, signed out."""
    return nobody.on(target)


@pytest.fixture
def as_user(signed_out: Bazar, people: People) -> Callable[[Someone], Bazar]:
    """Return `bazar` with the access token of a user."""

    def signed_in(someone: Someone) -> Bazar:
        if not people.identities(someone.email):
            people.identity(someone)
        return signed_out.having(BAZAR_TOKEN=people.access_token(someone))

    return signed_in


@pytest.fixture
def admin(as_user: Callable[[Someone], Bazar], people: People) -> Bazar:
    """`bazar` signed in as a superuser on Premium."""
    return as_user(people.superuser())
