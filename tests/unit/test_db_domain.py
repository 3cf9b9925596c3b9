"""What the domain says of a database."""

from __future__ import annotations

import pytest

from bazar_cli.domain.db.migrations import Place, ReadOnly


@pytest.mark.parametrize(
    ("version", "frees"),
    [
        ("13.14", False),
        ("13.14 (Debian 13.14-0+deb11u1)", False),
        ("14.0", True),
        ("18beta1", True),
        ("17", True),
        ("devel", False),
    ],
)
def test_killed_clients_are_noticed_from_postgres_14_on(version: str, frees: bool) -> None:
    assert Place("host", "bazar", None, version).frees_locks_of_the_dead is frees


@pytest.mark.parametrize(
    ("found", "reason", "text", "remedy"),
    [
        (ReadOnly(standby=True), "standby", "its server is a standby", "let DATABASE_URL lead to the primary"),
        (
            ReadOnly(),
            "default_transaction_read_only",
            "default_transaction_read_only is on",
            "for another cause: take it back where it was set",
        ),
        (
            ReadOnly(place="on the database app", undo="ALTER DATABASE app RESET x"),
            "default_transaction_read_only",
            "default_transaction_read_only is on, set on the database app",
            "for another cause: `ALTER DATABASE app RESET x`",
        ),
    ],
)
def test_a_database_that_takes_no_writes_says_why(found: ReadOnly, reason: str, text: str, remedy: str) -> None:
    assert (found.reason, found.text) == (reason, text)
    assert remedy in found.remedy("DATABASE_URL")
