"""Code that is not bazar's writes to its streams: results stay results, errors stay one object, logs stay redacted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.support import keyrings, stray_output
from tests.support.cli import Bazar
from tests.support.people import OLD_PASSWORD, Someone
from tests.support.release import NEXT, Release
from tests.support.stray_output import LOGGED, TOKEN, WRITES, printing_imports

Databases = Callable[..., str]
Email = Callable[[str], str]


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """A release to which a test adds revisions."""
    return Release(tmp_path / "release")


@pytest.fixture
def first(tmp_path: Path, target: Target, unique_email: Email, fresh_database: Databases) -> Bazar:
    """`bazar` on a migrated database of its own, as its first superuser."""
    url = fresh_database(migrated=True)
    bazar = Bazar(tmp_path / "home", fresh=True).on(replace(target, database_url=Secret(url)))
    return bazar.having(SUPERUSER_EMAIL=unique_email("root"), SUPERUSER_PASSWORD="a-password")


def without_printed(text: str) -> str:
    """Return the lines that other code did not print."""
    return "".join(line for line in text.splitlines(keepends=True) if TOKEN not in line)


# -- migrations ---------------------------------------------------------------------------------------------


def test_status_runs_no_revision(first: Bazar, release: Release) -> None:
    release.add(NEXT, WRITES)
    done = release.on(first)("db", "status", "-o", "json", "--quiet").ok()
    assert (json.loads(done.out)["head"], done.err) == (NEXT, "")


@pytest.mark.parametrize("words", [("migrate",), ("migrate", "--dry-run")], ids=" ".join)
def test_revision_that_prints_leaves_the_result_alone(first: Bazar, release: Release, words: tuple[str, ...]) -> None:
    release.add(NEXT, WRITES)
    done = release.on(first)("db", *words, "-o", "json", "--quiet").ok()
    assert (TOKEN in done.out, LOGGED in done.out) == (False, False)
    assert json.loads(done.out)["head"] == NEXT
    said = {f"{TOKEN} {what}" for what in ("line", "buffer", "original", "descriptor", "child", "error", "at exit")}
    assert {text for text in said if text not in done.err} == set()
    assert LOGGED not in done.err
    assert without_printed(done.err) == ""


def test_lines_that_a_revision_logs_are_redacted_and_have_the_form_of_all(first: Bazar, release: Release) -> None:
    secret = first.environ["SUPERUSER_PASSWORD"]
    release.add(NEXT, f"{WRITES}\nlogging.error('it is {secret}\\nnext: line')")
    done = release.on(first)("db", "migrate", "-o", "json", "--quiet", "--debug").ok()
    json.loads(done.out)
    assert secret not in done.err
    form = re.compile(r"\d{4}-\d\d-\d\dT\S+Z [A-Z]+ \S+ \[\w+\] |\| ")
    assert [line for line in without_printed(done.err).splitlines() if not form.match(line)] == []
    logged = {f"{LOGGED} {what}" for what in ("root", "own", "handler", "number", "warning", "unraisable", "thread")}
    assert {text for text in logged if text not in done.err} == set()
    assert f"{LOGGED} debug" not in done.err


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise RuntimeError('not now')", "RuntimeError: not now"),
        ("sys.exit(0)", "it called sys.exit(0)"),
        ("raise GeneratorExit('not now')", "GeneratorExit: not now"),
    ],
)
def test_printing_revision_that_fails_is_one_error_object(first: Bazar, release: Release, code: str, why: str) -> None:
    release.add(NEXT, f"{WRITES}\nsys.excepthook = sys.stdout = sys.stderr = None\n{code}")
    done = release.on(first)("db", "migrate", "-o", "json", "--quiet")
    assert (done.code, done.out) == (6, "")
    error = json.loads(without_printed(done.err))["error"]
    assert error["code"] == "db.revision_failed"
    assert why in error["message"]


def test_print_of_a_revision_that_nobody_reads_stops_no_migration(first: Bazar, release: Release) -> None:
    release.add(NEXT, f"print('{TOKEN}')")
    process = release.on(first).start("db", "migrate", "-o", "json")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stderr.close()
    assert json.loads(process.stdout.read())["current"] == NEXT
    process.stdout.close()
    assert process.wait() == 0


# -- keyrings -----------------------------------------------------------------------------------------------


def test_keyring_that_prints_leaves_the_result_alone(admin: Bazar, root: Someone, tmp_path: Path) -> None:
    bazar = admin.lacking("BAZAR_TOKEN").having(
        BAZAR_CONFIG_DIR="",
        XDG_CONFIG_HOME=str(tmp_path / "xdg"),
        HOME=str(tmp_path),
        PYTHON_KEYRING_BACKEND=stray_output.KEYRING,
        **{keyrings.FILE: str(tmp_path / "keyring.json")},
    )
    words = ("auth", "login", "--email", root.email, "--password-stdin", "-o", "json", "--quiet")
    signed_in = bazar(*words, stdin=OLD_PASSWORD).ok()
    me = bazar("users", "me", "-o", "json").ok()
    token = bazar("auth", "token").ok()
    gone = bazar("users", "get", "nobody@example.com", "-o", "json")
    assert (signed_in.json["stored_in"], me.json["email"]) == ("keyring", root.email)
    assert token.out.count("\n") == 1
    assert (gone.code, json.loads(without_printed(gone.err))["error"]["code"]) == (3, "users.not_found")
    for done in (signed_in, me, token):
        assert TOKEN in done.err
        assert without_printed(done.err) == ""


# -- every library ------------------------------------------------------------------------------------------

ANSWERS = (
    ("users", "create", "--help"),
    ("__complete", "users", "list", "--out"),
    ("config", "path", "-o", "yaml"),
    ("users", "list", "--limit", "1", "-o", "csv"),
    ("db", "status", "-o", "json"),
    ("orgs", "create", "Acme", "--dry-run", "-o", "json"),
    ("audit", "verify", "-o", "yaml"),
    ("users", "get", "nobody@example.com", "-o", "json"),
)
"""Each imports other libraries. Commands that import none are in tests/contracts/test_startup.py."""


@pytest.mark.parametrize("words", ANSWERS, ids=" ".join)
def test_libraries_that_print_change_no_answer(admin: Bazar, tmp_path: Path, words: tuple[str, ...]) -> None:
    quiet = admin(*words)
    printing = replace(admin, fresh=True).having(**printing_imports(tmp_path))(*words)
    assert (printing.code, varying(printing.out)) == (quiet.code, varying(quiet.out))
    assert varying(without_printed(printing.err)) == varying(quiet.err)


def varying(text: str) -> str:
    """Return a text without what differs from run to run."""
    return re.sub(r'"(request_id|id|created_at|updated_at)": "[^"]+"|(--cursor )\S+', r"\1\2", text)
