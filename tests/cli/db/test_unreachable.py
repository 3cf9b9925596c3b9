"""Every `db` command that needs a database which does not answer: JSON, the same code, and no password."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.db.conftest import On
from tests.support.cli import Bazar
from tests.support.tree import ALL

_FILES_ONLY = {"db heads", "db history", "db merge", "db revision"}
_WORDS = {"db env set": ("staging", "--protected"), "db wait": ("--timeout", "0")}
_SECRET = "very-secret"
NAMES = sorted(name for name in ALL if name.startswith("db ") and name not in _FILES_ONLY)


@pytest.mark.parametrize("name", NAMES)
def test_error_is_json_without_the_password(known: On, name: str) -> None:
    bazar = known(f"postgresql://someone:{_SECRET}@127.0.0.1:1/nothing")
    done = bazar(*name.split(), *_WORDS.get(name, ()), "--no-input", "-o", "json")
    assert (done.code, done.out) == (7, "")
    assert done.error["code"] == ("db.wait_timeout" if name == "db wait" else "postgres.unavailable")
    assert done.error["exit_code"] == 7
    assert "127.0.0.1:1/nothing" in done.error["message"]
    assert _SECRET not in done.err
    assert bazar.environ["SUPERUSER_PASSWORD"] not in done.err


def test_traceback_has_no_password_either(first: On) -> None:
    done = first(f"postgresql://someone:{_SECRET}@127.0.0.1:1/nothing")("db", "migrate", "--debug")
    assert (done.code, done.out) == (7, "")
    assert "Traceback" in done.err
    assert _SECRET not in done.err


def test_url_that_failed_is_the_one_that_is_named(admin: Bazar, first: On, fresh_database: Callable[..., str]) -> None:
    wrong = f"postgresql://someone:{_SECRET}@127.0.0.1:1/elsewhere"
    runs = [
        (admin, "DATABASE_MIGRATION_URL", ("status", "migrate", "rollback", "reset", "create")),
        (first(fresh_database()), "DATABASE_MIGRATION_URL", ("migrate",)),
        (admin, "DATABASE_URL", ("status",)),
    ]
    for bazar, variable, verbs in runs:
        for verb in verbs:
            done = bazar.having(**{variable: wrong})("db", verb, "--no-input", "-o", "json")
            assert (done.code, done.error["code"], _SECRET in done.err) == (7, "postgres.unavailable", False), verb
            assert done.error["message"].startswith("the database 127.0.0.1:1/elsewhere is not reachable: "), verb
            assert done.error["hint"].startswith(f"check {variable} and the network"), verb
