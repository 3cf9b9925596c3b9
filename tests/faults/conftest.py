"""Fixtures of the fault tests: `bazar` signed in as a superuser, and a faulty connection to Auth."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Generator
from functools import lru_cache
from pathlib import Path

import pytest

from bazar_cli.domain.target import Target
from tests.support.auth_proxy import AuthProxy, auth_proxy
from tests.support.cli import Bazar
from tests.support.people import People, Someone


@pytest.fixture
def admin(tmp_path: Path, target: Target, people: People, root: Someone) -> Bazar:
    """`bazar` signed in as a superuser."""
    return Bazar(tmp_path / "home").on(target).having(BAZAR_TOKEN=people.access_token(root))


@pytest.fixture
def proxy(target: Target) -> Generator[AuthProxy]:
    """A proxy of the target's Auth service that makes faults."""
    with auth_proxy(target) as lent:
        yield lent


@pytest.fixture
def faulty(admin: Bazar, proxy: AuthProxy) -> Bazar:
    """The same superuser's `bazar`, which reaches Supabase Auth through the proxy."""
    return admin.on(proxy.target)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests on a small disk where a mount is impossible: without root, or in a closed container."""
    on_disk = [item for item in items if item.get_closest_marker("mount")]
    if on_disk and not _mounts():
        config.hook.pytest_deselected(items=on_disk)
        items[:] = [item for item in items if item not in on_disk]


@lru_cache(maxsize=1)
def _mounts() -> bool:
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=False)
        if mounted.returncode == 0:
            subprocess.run(["umount", folder], check=True)
        return mounted.returncode == 0
