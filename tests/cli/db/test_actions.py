"""`bazar db` as a step of GitHub Actions: annotations of errors, and a summary of what was done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bazar_cli.adapters.migrations.revision_files import revisions, script_location
from tests.cli.db.conftest import On

ALL = [r.id for r in revisions(script_location())]
Databases = Callable[..., str]


@pytest.fixture
def summary(tmp_path: Path) -> Path:
    """The file that the step's summary is made of, with what a step before wrote."""
    path = tmp_path / "summary.md"
    path.write_text("# before\n")
    return path


def test_summary_lists_each_change(first: On, fresh_database: Databases, summary: Path) -> None:
    bazar = first(fresh_database()).having(GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    for words in (("--dry-run",), ("--sql",)):
        bazar("db", "migrate", *words)
    assert summary.read_text() == "# before\n"
    bazar("db", "migrate", "--env", "local", "--unprotected").ok()
    bazar("db", "rollback", "--yes").ok()
    text = summary.read_text()
    assert text.startswith("# before\n### bazar db migrate\n")
    assert [f"| applied {r} |" in text for r in ALL] == [True] * len(ALL)
    assert f"| rolled back {ALL[-1]} |" in text
    bazar.having(GITHUB_ACTIONS="false")("db", "migrate").ok()
    assert summary.read_text() == text


def test_summary_that_cannot_be_written_is_a_warning(first: On, fresh_database: Databases, tmp_path: Path) -> None:
    bazar = first(fresh_database()).having(GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(tmp_path))
    done = bazar("db", "migrate", "-o", "json").ok()
    assert "warning: the summary of the step could not be written" in done.err
    assert done.json["current"] == ALL[-1]


def test_error_is_an_annotation_without_secrets(first: On) -> None:
    bazar = first("postgresql://someone:very-secret%25@127.0.0.1:1/nothing")
    there = bazar.having(GITHUB_ACTIONS="true")
    done = there("db", "migrate")
    assert "::error" not in bazar("db", "migrate").err + there("users", "list").err
    (line,) = [line for line in done.err.splitlines() if line.startswith("::")]
    assert line.startswith("::error title=postgres.unavailable::the database 127.0.0.1:1/nothing")
    assert "%0A" in line
    assert (done.code, "very-secret" in done.err) == (7, False)
    for form in ("json", "jsonl"):
        assert json.loads(there("db", "migrate", "-o", form).err)["error"]["code"] == "postgres.unavailable"
