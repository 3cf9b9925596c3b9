"""What the domain says of a database."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from bazar_cli.domain.db.locks import LockSession, without_literals
from bazar_cli.domain.db.marker import urls_differ
from bazar_cli.domain.db.migrations import (
    ChangedRevision,
    Marker,
    MigrationStatus,
    Place,
    ReadOnly,
    Revision,
    checked_environment,
    checked_seconds,
    checked_statement_timeout,
    disagreement,
    moved,
    refuse_by_marker,
    refuse_protected,
)
from bazar_cli.domain.db.reset import ResetPlan, needed_by_others
from bazar_cli.domain.db.revisions import RevisionFile, checked_message, two_heads
from bazar_cli.domain.errors import Refused, UsageError

FREE, GUARDED = Marker("staging", protected=False), Marker("production", protected=True)
STATUS = MigrationStatus(Place("host", "shop", FREE, "18"), "a1", "a2", (), (), unknown=False)


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


# -- the marker ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marker", "current", "embedded", "code"),
    [
        (FREE, "a1", False, None),
        (None, None, False, None),
        (None, "a1", True, None),
        (None, "a1", False, "db.unmarked"),
        (GUARDED, "a1", False, "db.protected"),
        (GUARDED, "a1", True, "db.protected"),
        (GUARDED, None, False, "db.protected"),
    ],
)
def test_a_protected_database_is_not_destroyed(
    marker: Marker | None, current: str | None, embedded: bool, code: str | None
) -> None:
    status = replace(STATUS, place=replace(STATUS.place, marker=marker), current=current)
    if code is None:
        refuse_protected(status, "rolling back", embedded=embedded)
        assert marker is None or refuse_by_marker("host", "shop", marker, "rolling back") is marker
        return
    with pytest.raises(Refused) as refused:
        refuse_protected(status, "rolling back", embedded=embedded)
    environment = marker and marker.environment
    assert refused.value.code == code
    assert refused.value.details == {"host": "host", "database": "shop", "environment": environment}
    if marker is not None:
        assert "`bazar db env set production --unprotected --confirm shop`" in refused.value.hint


def test_two_urls_are_named_with_their_databases() -> None:
    assert urls_differ().details == {}
    differ = urls_differ("shop", "other")
    assert (differ.code, differ.details) == ("db.urls_differ", {"database": "shop", "migration_database": "other"})


# -- revisions ----------------------------------------------------------------------------------------------


def test_a_database_of_another_release_disagrees() -> None:
    changed = ChangedRevision(Revision("a1", "first", checksum="new"), "old")
    assert disagreement(STATUS) is None
    unknown = disagreement(replace(STATUS, unknown=True, changed=(changed,)))
    assert unknown is not None
    assert (unknown.code, unknown.details) == ("db.unknown_revision", {"current": "a1", "head": "a2"})
    found = disagreement(replace(STATUS, changed=(changed, changed)))
    assert found is not None
    assert (found.code, found.message.endswith(": a1, a1")) == ("db.revision_changed", True)
    assert found.details == {"changed": [{"revision": "a1", "applied_checksum": "old", "checksum": "new"}] * 2}


def test_a_database_that_moved_is_told_from_files_that_changed() -> None:
    assert (moved("a1", "a2").code, moved("a1", "a1").code) == ("db.moved", "db.moved")
    assert "from revision a1 to a2" in moved("a1", "a2").message
    assert "files of revision a1 changed" in moved("a1", "a1").message


def test_two_heads_are_named() -> None:
    heads = tuple(RevisionFile(Revision(name, f"add {name}"), (), f"{name}.py") for name in ("a1", "b1"))
    found = two_heads(heads)
    assert (found.code, found.details) == ("db.two_heads", {"heads": ["a1", "b1"]})
    assert found.message == "the migration files have 2 heads: a1 (add a1) and b1 (add b1)"


@pytest.mark.parametrize(("text", "taken"), [(" add invoices ", "add invoices"), ("7", "7"), ("x" * 200, "x" * 200)])
def test_a_message_is_one_line(text: str, taken: str) -> None:
    assert checked_message(text) == taken


@pytest.mark.parametrize("text", ["", "...", "a\nb", "x" * 201])
def test_another_text_is_not_a_message(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        checked_message(text)
    assert refused.value.code == "db.message_invalid"


@pytest.mark.parametrize(
    ("dependents", "current", "missing", "said"),
    [
        (1, "a1", (), "1 object of others depends on tables that must be dropped, as the database is at revision a1"),
        (2, None, (), "2 objects of others depend on tables that must be dropped, as the database is at revision none"),
        (2, "a2", ("users",), "as users is missing: DROP 0; DROP 1"),
        (2, "a2", ("users", "plans"), "as users, plans are missing: "),
        (2, "a2", (), "as other files than those of this release migrated the database: "),
        (200, "a1", (), "DROP 199"),
        (203, "a1", (), "DROP 199; and 3 more, which `-o json` shows"),
    ],
)
def test_objects_of_others_stop_a_reset_that_drops(
    dependents: int, current: str | None, missing: tuple[str, ...], said: str
) -> None:
    drops = tuple(f"DROP {number}" for number in range(dependents))
    plan = ResetPlan(
        place=STATUS.place,
        current=current,
        head="a2",
        in_place=False,
        missing=missing,
        pending=(),
        tables=(),
        unsure=(),
        strangers=(),
        dependents=drops,
        foreign_keys=(),
        superusers=0,
        created_users=0,
        audit=None,
        deployment=None,
    )
    found = needed_by_others(plan)
    assert (found.code, found.details) == ("db.needed_by_others", {"dependents": list(drops)})
    assert said in found.message
    assert (" more, " in found.message) == (dependents > 200)
    assert ("`bazar db migrate`" in found.hint) == (current != "a2")


# -- values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.0, 0.5, 86_400.0])
def test_seconds_up_to_a_day_can_be_waited_for(seconds: float) -> None:
    assert checked_seconds("--timeout", seconds) == seconds


@pytest.mark.parametrize("seconds", [-1.0, 86_400.5, math.inf, math.nan])
def test_other_numbers_of_seconds_are_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match="0 to 86400 seconds are allowed") as refused:
        checked_seconds("--timeout", seconds)
    assert refused.value.code == "usage.invalid_value"


def test_a_limit_of_statements_has_at_least_a_millisecond() -> None:
    checked_statement_timeout(None)
    checked_statement_timeout(0.001)
    with pytest.raises(UsageError, match="--statement-timeout 0 is not valid"):
        checked_statement_timeout(0.0)


@pytest.mark.parametrize("name", ["staging", "a.b-c_1", "x" * 63])
def test_an_environment_has_a_plain_name(name: str) -> None:
    assert checked_environment(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a b", "\u00e4", "x" * 64])
def test_another_name_is_not_an_environment(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        checked_environment(name)
    assert refused.value.code == "db.environment_name"


# -- sessions that lock -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("application", "user", "text"),
    [("psql", "ada", "pid 7 (psql, user ada)"), ("", None, "pid 7 (no name, user unknown)")],
)
def test_a_session_is_named(application: str, user: str | None, text: str) -> None:
    assert LockSession(7, application, user, None, None, False, (), (), None, None).text == text


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ('SELECT  a1,\n $1 FROM "t 1"', 'SELECT a1, $1 FROM "t 1"'),
        ("SELECT 'secret', E'it\\'s', 12.5, $$x$$, $t$ $$ $t$", "SELECT ?, ?, ?, ?, ?"),
        ("SELECT 1 -- secret\n, 2 /* secret */ FROM t", "SELECT ? , ? FROM t"),
        ("SELECT 'cut off", "SELECT ?"),
        ("a" * 120, "a" * 120),
        ("a" * 121, "a" * 119 + "\u2026"),
    ],
)
def test_a_statement_is_shown_without_its_literals(query: str, shown: str) -> None:
    assert without_literals(query) == shown
