"""What the fault tests share: people in both systems, and `bazar` signed in as a superuser."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from bazar_cli.domain.target import Target
from tests.support.auth_proxy import AuthProxy, auth_proxy
from tests.support.cli import Bazar
from tests.support.people import People, Someone


@pytest.fixture
def people(target: Target) -> Generator[People]:
    """The users of this worker's target."""
    with People(target) as found:
        yield found


@pytest.fixture
def root(people: People) -> Someone:
    """A superuser known to both systems."""
    made = people.superuser()
    people.identity(made)
    return made


@pytest.fixture
def admin(tmp_path: Path, target: Target, people: People, root: Someone) -> Bazar:
    """`bazar` signed in as a superuser."""
    return Bazar(tmp_path / "home").on(target).having(BAZAR_TOKEN=people.access_token(root))


@pytest.fixture
def proxy(target: Target) -> Generator[AuthProxy]:
    """A way to the target's Auth service on which things go wrong."""
    with auth_proxy(target) as lent:
        yield lent


@pytest.fixture
def faulty(admin: Bazar, proxy: AuthProxy) -> Bazar:
    """The same superuser's `bazar`, which reaches Supabase Auth by the proxy only."""
    return admin.on(proxy.target)
