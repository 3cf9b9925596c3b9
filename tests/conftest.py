"""What all tests share: one Postgres server a run, one database and one Auth service a worker.

With BAZAR_TEST_SUPABASE_URL, BAZAR_TEST_SUPABASE_KEY and BAZAR_TEST_DATABASE_URL set, the same fixtures point
to that target instead, so that the end-to-end tests run unchanged against it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Generator
from contextlib import ExitStack

import pytest

from bazar_cli.devstack.auth.keys import AuthKeys, generate_keys
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target, TargetKind, TargetSource
from tests.support.auth_service import environment_of, running_auth_service
from tests.support.postgres import TEMPLATE, ScratchPostgres, scratch_database

_URL = "BAZAR_TEST_POSTGRES"
"""Hands the server of the run from the first process to its workers."""
_LIVE = ("BAZAR_TEST_SUPABASE_URL", "BAZAR_TEST_SUPABASE_KEY", "BAZAR_TEST_DATABASE_URL")
_server = pytest.StashKey[ScratchPostgres]()


def pytest_configure(config: pytest.Config) -> None:
    """Start the server once, in the process that has no controller above it."""
    if not hasattr(config, "workerinput") and not config.option.collectonly:
        server = ScratchPostgres()
        os.environ[_URL] = server.start()
        config.stash[_server] = server


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the server after the last worker."""
    server = config.stash.get(_server, None)
    if server is not None:
        server.stop()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not asked for: live tests without a target, long ones without `-m long`."""
    live = all(os.environ.get(name) for name in _LIVE)
    wanted = config.option.markexpr or ""
    left_out = [
        item
        for item in items
        if (item.get_closest_marker("live") and not live) or (item.get_closest_marker("long") and "long" not in wanted)
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """The server of the run: URL of its maintenance database."""
    return os.environ[_URL]


@pytest.fixture(scope="session")
def database_url(postgres_url: str) -> Generator[str]:
    """This worker's migrated database, with the tables of the Auth service."""
    if os.environ.get("BAZAR_TEST_DATABASE_URL"):
        yield os.environ["BAZAR_TEST_DATABASE_URL"]
        return
    with scratch_database(postgres_url, TEMPLATE) as url:
        yield url


@pytest.fixture(scope="session")
def auth_keys() -> AuthKeys:
    """The keys of this worker's Auth service."""
    return generate_keys()


@pytest.fixture(scope="session")
def auth_url(auth_keys: AuthKeys, database_url: str) -> Generator[str]:
    """This worker's Auth service, without `/auth/v1`."""
    if os.environ.get("BAZAR_TEST_SUPABASE_URL"):
        yield os.environ["BAZAR_TEST_SUPABASE_URL"]
        return
    with running_auth_service(environment_of(auth_keys, database_url)) as url:
        yield url


@pytest.fixture(scope="session")
def service_key(auth_keys: AuthKeys) -> str:
    """The service key of the target."""
    return os.environ.get("BAZAR_TEST_SUPABASE_KEY") or auth_keys.secret_key


@pytest.fixture(scope="session")
def target(auth_url: str, service_key: str, database_url: str) -> Target:
    """Both systems of this worker as one target."""
    source = TargetSource(TargetKind.ENVIRONMENT, "environment")
    return Target(source, auth_url, Secret(service_key), Secret(database_url))


@pytest.fixture
def fresh_database(postgres_url: str) -> Generator[Callable[..., str]]:
    """Make databases for one test: empty, or `migrated=True`."""
    with ExitStack() as stack:

        def make(*, migrated: bool = False) -> str:
            return stack.enter_context(scratch_database(postgres_url, TEMPLATE if migrated else None))

        yield make


@pytest.fixture
def unique_email() -> Callable[[str], str]:
    """Make addresses that no other test uses."""
    return lambda name="user": f"{name}.{secrets.token_hex(5)}@example.com"
