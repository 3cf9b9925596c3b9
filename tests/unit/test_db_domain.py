"""What the domain says of a database."""

from __future__ import annotations

import pytest

from bazar_cli.domain.db.migrations import Place


@pytest.mark.parametrize(
    ("version", "frees"),
    [("13.14", False), ("13.14 (Debian 13.14-0+deb11u1)", False), ("14.0", True), ("18beta1", True), ("17", True)],
)
def test_killed_clients_are_noticed_from_postgres_14_on(version: str, frees: bool) -> None:
    assert Place("host", "bazar", None, version).frees_locks_of_the_dead is frees
