"""Fixtures of the tests of the HTTP API: one server process, on real Postgres and a real Auth service."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bazar_cli.domain.target import Target
from tests.support.api_server import SUPERUSER_PASSWORD, Api, running_api
from tests.support.people import People, Someone

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run these tests in one worker, so that one server is enough."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("api"))


@pytest.fixture(scope="session")
def server(embedded_target: Target, tmp_path_factory: pytest.TempPathFactory) -> Generator[Api]:
    """The server; in the end, no answer and no log line of all tests held one of its secrets."""
    log = tmp_path_factory.mktemp("api") / "log"
    with running_api(embedded_target, log) as api:
        yield api
    url = embedded_target.database_url.reveal()
    secrets = [embedded_target.supabase_key.reveal(), url, urlsplit(url).password or url, SUPERUSER_PASSWORD]
    assert api.replies
    for reply in (*api.replies, log.read_bytes()):
        assert not [secret for secret in secrets if secret.encode() in reply], reply


@pytest.fixture
def api(server: Api, people: People, root: Someone) -> Api:
    """A client with the token of a superuser."""
    return server.by(people.access_token(root))
