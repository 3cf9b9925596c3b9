"""`bazar db rollback` and `db redo`: what goes is said and agreed to, and a protected database keeps it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from bazar_cli.adapters.migrations.revision_files import revisions, script_location
from tests.cli.db.conftest import On, schema_of
from tests.support.cli import Bazar
from tests.support.release import ADDED, HEAD, NEXT, Release
from tests.support.row_versions import row_versions

ALL = [r.id for r in revisions(script_location())]
LAST, BEFORE = ALL[-1], ALL[-2]
LOG = "0004"
"""The revision that makes a table, and loses it with its rows when it is taken back."""
Databases = Callable[..., str]
BOTH = pytest.mark.parametrize("verb", ["rollback", "redo"])


@pytest.fixture
def here(first: On, fresh_database: Databases) -> tuple[Bazar, str]:
    """`bazar` as the first superuser of an unprotected database at the head."""
    url = fresh_database(migrated=True)
    bazar = first(url)
    bazar("db", "migrate").ok()
    return bazar, url


@pytest.fixture
def at_log(first: On, fresh_database: Databases) -> tuple[Bazar, str]:
    """The same, at the revision that makes the log of migrations."""
    url = fresh_database()
    bazar = first(url)
    bazar("db", "migrate", LOG, "--env", "local", "--unprotected").ok()
    return bazar, url


def log_of(url: str, revision: str) -> list[tuple[str, bool, bool]]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT direction, operator_email IS NOT NULL, request_id IS NOT NULL FROM bazar.migration_log"
            " WHERE revision = %s ORDER BY id",
            (revision,),
        ).fetchall()


def events_of(url: str, use_case: str) -> list[tuple[str, str]]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT before ->> 'revision', after ->> 'revision' FROM bazar.audit_events"
            " WHERE use_case = %s AND target_type = 'database' AND outcome = 'done' ORDER BY seq",
            (use_case,),
        ).fetchall()


def mark(url: str, protected: bool | None) -> None:
    with psycopg.connect(url) as connection:
        if protected is None:
            connection.execute("DELETE FROM bazar.deployment")
        else:
            connection.execute("UPDATE bazar.deployment SET protected = %s", (protected,))


def test_newest_revision_is_rolled_back_and_applied_again(here: tuple[Bazar, str]) -> None:
    bazar, url = here
    before = schema_of(url)
    done = bazar("db", "rollback", "--yes", "-o", "json").ok()
    result = done.json
    assert [r["revision"] for r in result["reverted"]] == [LAST]
    assert (result["current"], result["would_revert"], result["applied"]) == (BEFORE, [], [])
    assert [r["revision"] for r in result["pending"]] == [LAST]
    assert f"Rolling back {LAST}" in done.err
    assert events_of(url, "db.rollback") == [(LAST, BEFORE)]
    assert [r["revision"] for r in bazar("db", "migrate", "-o", "json").ok().json["applied"]] == [LAST]
    assert schema_of(url) == before


def test_operators_are_known_at_every_revision(here: tuple[Bazar, str]) -> None:
    bazar, url = here
    for below in reversed(ALL[:-1]):
        gone = bazar("db", "rollback", "--to", below, "--yes", "-o", "json").ok().json
        assert gone["current"] == below
        assert bazar("db", "status", "-o", "json").ok().json["current"] == below
        assert bazar("users", "me", "-o", "json").ok().json["is_superuser"]
    assert [after for _, after in events_of(url, "db.rollback")] == list(reversed(ALL[:-1]))
    assert bazar("db", "migrate", "-o", "json").ok().json["current"] == LAST


def test_several_at_once_and_none(here: tuple[Bazar, str]) -> None:
    bazar, url = here
    none = bazar("db", "rollback", "--to", LAST, "-o", "json").ok()
    assert (none.json["reverted"], none.err) == ([], "there is nothing to roll back\n")
    done = bazar("db", "rollback", "--steps", "2", "--yes", "-o", "json").ok().json
    assert [r["revision"] for r in done["reverted"]] == [LAST, BEFORE]
    assert events_of(url, "db.rollback") == [(LAST, BEFORE), (BEFORE, ALL[-3])]


def test_redo_leaves_the_same_schema_and_both_rows(here: tuple[Bazar, str]) -> None:
    bazar, url = here
    bazar("db", "rollback", "--to", ALL[1], "--yes").ok()
    bazar("db", "migrate", ALL[2]).ok()
    before = schema_of(url)
    done = bazar("db", "redo", "--yes", "-o", "json").ok().json
    assert ([r["revision"] for r in done["reverted"]], [r["revision"] for r in done["applied"]]) == ([ALL[2]], [ALL[2]])
    assert done["current"] == ALL[2]
    assert schema_of(url) == before
    assert events_of(url, "db.redo") == [(ALL[2], ALL[1]), (ALL[1], ALL[2])]


@BOTH
def test_without_consent_nothing_is_written_and_the_error_lists_what_is_lost(
    at_log: tuple[Bazar, str], verb: str
) -> None:
    bazar, url = at_log
    before = row_versions(url)
    refused = bazar("db", verb, "--statement-timeout", "5", "-o", "json")
    details = refused.error["details"]
    assert (refused.code, refused.out, refused.error["code"]) == (10, "", "input.consent")
    assert (details["current"], details["would_revert"]) == (LOG, [LOG])
    assert details["lost_tables"] == [{"table": "bazar.migration_log", "rows": ALL.index(LOG) + 1}]
    steps = "--steps 1 " if verb == "rollback" else ""
    assert f"bazar db {verb} {steps}--statement-timeout 5 --yes" in refused.error["hint"]
    said = refused.error["message"]
    assert f" would be {'redone' if verb == 'redo' else 'rolled back'}. Tables that would be dropped with" in said
    assert "bazar.migration_log (about " in said
    assert row_versions(url) == before


@BOTH
def test_dry_run_shows_the_sql_and_writes_nothing(at_log: tuple[Bazar, str], verb: str) -> None:
    bazar, url = at_log
    before = row_versions(url)
    done = bazar("db", verb, "--dry-run", "-o", "json").ok()
    assert "DROP TABLE bazar.migration_log" in done.json["sql"]
    assert [(r["revision"], r["destructive"]) for r in done.json["would_revert"]] == [(LOG, True)]
    anew = [(LOG, False)] if verb == "redo" else []
    assert [(r["revision"], r["destructive"]) for r in done.json["would_apply"]] == anew
    assert [r["revision"] for r in done.json["pending"]] == ALL[ALL.index(LOG) + 1 :]
    assert ("CREATE TABLE bazar.migration_log" in done.json["sql"].partition("DROP TABLE")[2]) == bool(anew)
    assert [t["table"] for t in done.json["lost_tables"]] == ["bazar.migration_log"]
    assert (done.json["reverted"], done.json["current"]) == ([], LOG)
    assert bazar("db", verb, "--dry-run").ok().out.rstrip() == done.json["sql"].rstrip()
    assert row_versions(url) == before


@pytest.mark.parametrize("protected", [True, None], ids=["protected", "unmarked"])
def test_protected_database_refuses_whatever_is_given(here: tuple[Bazar, str], protected: bool | None) -> None:
    bazar, url = here
    mark(url, protected)
    before, code = row_versions(url), "db.protected" if protected else "db.unmarked"
    for verb, what in (("rollback", "rolling back"), ("redo", "redoing")):
        for words in ((), ("--dry-run",), ("--yes", "--no-input", "--quiet")):
            refused = bazar("db", verb, *words, "-o", "json")
            assert (refused.code, refused.out, refused.error["code"]) == (10, "", code), words
            assert f": {what} is refused" in refused.error["message"]
            assert ("has lost its marker" in refused.error["message"]) == (protected is None)
    assert row_versions(url) == before


def test_first_revision_stays(here: tuple[Bazar, str]) -> None:
    bazar, url = here
    bad = {
        ("--to", "base"): "db.rollback_to_base",
        ("--steps", str(len(ALL))): "db.rollback_to_base",
        ("--to", "9999"): "db.no_such_revision",
        ("--steps", "0"): "db.steps_invalid",
        ("--steps", "1", "--to", BEFORE): "db.steps_and_revision",
    }
    before = row_versions(url)
    for words, code in bad.items():
        refused = bazar("db", "rollback", *words, "--yes", "-o", "json")
        assert (refused.code, refused.out, refused.error["code"]) == (2, "", code)
        assert refused.error["hint"]
    assert row_versions(url) == before
    bazar("db", "rollback", "--to", ALL[0], "--yes").ok()
    assert bazar("db", "redo", "--yes", "-o", "json").error["code"] == "db.rollback_to_base"


def test_log_names_the_operator_of_a_redo(here: tuple[Bazar, str], tmp_path: Path) -> None:
    bazar, url = here
    release = Release(tmp_path / "release")
    path = release.add(NEXT, "op.execute('CREATE TABLE bazar.extra (id int)')", "op.execute('DROP TABLE bazar.extra')")
    later = release.on(bazar)
    later("db", "migrate").ok()
    path.write_text(path.read_text() + "# edited\n")
    assert later("db", "migrate", "-o", "json").error["code"] == "db.revision_changed"
    release.rewrite(path, "extra (id int)", "extra (id bigint)")
    for verb in ("redo", "rollback"):
        for told in (later("db", verb, "--no-input"), later("db", verb, "--dry-run").ok()):
            assert told.err.count("warning: applied revisions have other files now") == 1
    seen = later("db", "redo", "--dry-run", "-o", "json").ok().json
    assert ([r["revision"] for r in seen["would_apply"]], seen["current"]) == ([NEXT], NEXT)
    assert seen["sql"].index("DROP TABLE bazar.extra") < seen["sql"].index("CREATE TABLE bazar.extra (id bigint)")
    assert log_of(url, NEXT) == [("up", True, True)]
    done = later("db", "redo", "--yes", "-o", "json").ok()
    assert done.err.count("warning: applied revisions have other files now") == 1
    assert log_of(url, NEXT) == [("up", True, True), ("down", True, True), ("up", True, True)]
    later("db", "status", "--check").ok()


def test_redo_whose_way_up_reads_rows_can_only_be_run(here: tuple[Bazar, str], tmp_path: Path) -> None:
    bazar, url = here
    release = Release(tmp_path / "release")
    reads = "op.execute(f\"SELECT {op.get_bind().exec_driver_sql('SELECT 1').scalar_one()}\")"
    release.add(NEXT, reads, "op.execute('SELECT 1')")
    later = release.on(bazar)
    later("db", "migrate").ok()
    assert later("db", "redo", "--dry-run", "-o", "json").error["code"] == "db.revision_needs_data"
    later("db", "redo", "--yes").ok()
    assert [direction for direction, *_ in log_of(url, NEXT)] == ["up", "down", "up"]


# -- over a merge -------------------------------------------------------------------------------------------

LEFT, RIGHT, JOINED = ADDED[:3]


def table(name: str) -> tuple[str, str]:
    return f"op.execute('CREATE TABLE bazar.{name} (id int)')", f"op.execute('DROP TABLE bazar.{name}')"


@pytest.fixture
def forked(here: tuple[Bazar, str], tmp_path: Path) -> tuple[Bazar, str]:
    """A release with two revisions side by side and their merge, on a database at its head."""
    bazar, url = here
    release = Release(tmp_path / "release")
    release.add(LEFT, *table("left_side"))
    release.add(RIGHT, *table("right_side"), follows=(HEAD,))
    release.add(JOINED, *table("joined"), follows=(LEFT, RIGHT))
    run = release.on(bazar)
    run("db", "migrate").ok()
    return run, url


def state_of(url: str) -> tuple[list[str], list[str]]:
    """The revisions that a database is at, and which of the tables are there."""
    with psycopg.connect(url) as connection:
        at = connection.execute("SELECT version_num FROM bazar.alembic_version ORDER BY 1").fetchall()
        names = ["left_side", "right_side", "joined"]
        there = connection.execute(
            "SELECT n FROM unnest(%s::text[]) AS n WHERE to_regclass('bazar.' || n) IS NOT NULL", (names,)
        ).fetchall()
    return [row[0] for row in at], [row[0] for row in there]


MERGE_ROLLBACKS: tuple[tuple[tuple[str, ...], list[str], list[str], list[str]], ...] = (
    ((), [JOINED], [LEFT, RIGHT], ["left_side", "right_side"]),
    (("--steps", "2"), [JOINED, RIGHT], [LEFT], ["left_side"]),
    (("--to", RIGHT), [JOINED], [LEFT, RIGHT], ["left_side", "right_side"]),
    (("--to", LEFT), [JOINED, RIGHT], [LEFT], ["left_side"]),
    (("--to", HEAD), [JOINED, RIGHT, LEFT], [HEAD], []),
)
"""Arguments, the revisions that are taken back, where the database is then, and which tables are left."""


def test_a_merge_is_rolled_back_as_its_sql_says(forked: tuple[Bazar, str]) -> None:
    bazar, url = forked
    for words, gone, at, there in MERGE_ROLLBACKS:
        dry = bazar("db", "rollback", *words, "--dry-run", "-o", "json").ok().json
        assert [r["revision"] for r in dry["would_revert"]] == gone, words
        assert state_of(url)[0] == [JOINED]
        done = bazar("db", "rollback", *words, "--yes", "-o", "json").ok().json
        assert [r["revision"] for r in done["reverted"]] == gone
        assert done["lost_tables"] == dry["lost_tables"]
        assert state_of(url) == (at, there)
        assert done["current"] == ", ".join(at)
        bazar("db", "migrate").ok()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(dry["sql"].encode())
        assert state_of(url) == (at, there)
        bazar("db", "migrate").ok()


def test_both_sides_go_on_from_where_a_rollback_over_the_merge_ended(forked: tuple[Bazar, str]) -> None:
    bazar, url = forked
    bazar("db", "rollback", "--yes").ok()
    again = bazar("db", "redo", "--yes", "-o", "json").ok().json
    assert [r["revision"] for r in again["applied"]] == [RIGHT]
    assert state_of(url) == ([LEFT, RIGHT], ["left_side", "right_side"])
    dry = bazar("db", "rollback", "--to", HEAD, "--dry-run", "-o", "json").ok().json
    done = bazar("db", "rollback", "--to", HEAD, "--yes", "-o", "json").ok().json
    assert [r["revision"] for r in dry["would_revert"]] == [RIGHT, LEFT] == [r["revision"] for r in done["reverted"]]
    assert state_of(url) == ([HEAD], [])
    written = bazar("db", "migrate", RIGHT, "--sql").ok().out
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(written.encode())
    assert state_of(url) == ([LEFT, RIGHT], ["left_side", "right_side"])


def test_a_merge_is_applied_anew(forked: tuple[Bazar, str]) -> None:
    bazar, url = forked
    dry = bazar("db", "redo", "--dry-run", "-o", "json").ok().json
    done = bazar("db", "redo", "--yes", "-o", "json").ok().json
    assert [r["revision"] for r in dry["would_revert"]] == [JOINED] == [r["revision"] for r in done["reverted"]]
    assert [r["revision"] for r in dry["would_apply"]] == [JOINED] == [r["revision"] for r in done["applied"]]
    everything = [JOINED], ["left_side", "right_side", "joined"]
    assert state_of(url) == everything
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(dry["sql"].encode())
    assert state_of(url) == everything
