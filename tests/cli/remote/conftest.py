"""Fixtures of remote targets: one server for all modules, which are one group, and `bazar` on both kinds of target."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bazar_cli.domain.target import Target
from tests.support.api_server import Api, running_api
from tests.support.cli import Bazar
from tests.support.people import People, Someone


@pytest.fixture(scope="session")
def api(embedded_target: Target, tmp_path_factory: pytest.TempPathFactory) -> Generator[Api]:
    """The server of the worker's target."""
    with running_api(embedded_target, tmp_path_factory.mktemp("api") / "log") as running:
        yield running


@pytest.fixture
def signed_out(tmp_path: Path, api: Api) -> Bazar:
    """`bazar` on the server, signed out."""
    return Bazar(tmp_path / "remote").having(BAZAR_API_URL=api.url)


@dataclass(frozen=True)
class Pair:
    """One operator on both kinds of target, each on a machine of its own."""

    direct: Bazar
    remote: Bazar


@pytest.fixture
def pair_of(tmp_path: Path, embedded_target: Target, signed_out: Bazar, people: People) -> Callable[[Someone], Pair]:
    """Return both for a user."""

    def pair(someone: Someone) -> Pair:
        token = people.access_token(someone)
        direct = Bazar(tmp_path / "direct").on(embedded_target)
        return Pair(direct.having(BAZAR_TOKEN=token), signed_out.having(BAZAR_TOKEN=token))

    return pair
