"""`bazar db current|heads|history|revision|merge`: what a user sees of revisions and their files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg

from bazar_cli.adapters.migrations.revision_files import revisions, script_location
from bazar_cli.domain.target import Target
from tests.cli.db.conftest import On
from tests.support.checkout import make_checkout, make_installed
from tests.support.cli import Bazar
from tests.support.postgres import name_of

ALL = [r.id for r in revisions(script_location())]
NEXT = f"{int(ALL[-1]) + 1:04d}"
JSON = ("-o", "json")


def test_current_is_the_revision_alone(admin: Bazar) -> None:
    assert admin("db", "current").ok().out == f"{ALL[-1]} (head)\n"
    assert admin("db", "current", "-o", "ids").ok().out == f"{ALL[-1]}\n"
    assert admin("db", "current", *JSON).ok().json == {"revision": ALL[-1], "is_head": True}


def test_current_of_an_empty_database_is_nothing(known: On, fresh_database: Callable[..., str]) -> None:
    bazar = known(fresh_database())
    done = bazar("db", "current", "--no-input", "-o", "ids").ok()
    assert done.out == ""
    assert "bazar db migrate" in done.err
    assert bazar("db", "current", "--no-input", "-q", *JSON).ok().json == {"revision": None, "is_head": False}


def test_heads_and_history_need_no_target(nobody: Bazar) -> None:
    assert nobody("db", "heads", "-o", "ids").ok().out == f"{ALL[-1]}\n"
    history = nobody("db", "history", *JSON).ok().json
    assert [item["revision"] for item in history["items"]] == ALL[::-1]
    assert [item["is_head"] for item in history["items"]] == [True] + [False] * (len(ALL) - 1)
    assert [item["revises"] for item in history["items"]] == [*([name] for name in ALL[-2::-1]), []]
    assert history["next_cursor"] is None


def test_revision_and_merge_in_a_checkout(nobody: Bazar, tmp_path: Path) -> None:
    (tmp_path / "checkout").mkdir()
    checkout = make_checkout(tmp_path / "checkout")
    environ = nobody.environment()
    done = checkout.run("bazar_cli", "db", "revision", "-m", "Add invoices", *JSON, environ=environ).ok()
    path = checkout.location / "versions" / f"{NEXT}_add_invoices.py"
    assert done.json == {"revision": NEXT, "revises": [ALL[-1]], "message": "Add invoices", "path": str(path)}
    assert done.err == ""
    checkout.write("other", ALL[-1])
    refused = checkout.run("bazar_cli", "db", "revision", "-m", "More", *JSON, environ=environ)
    assert (refused.code, refused.out, refused.error["code"]) == (6, "", "db.two_heads")
    merged = checkout.run("bazar_cli", "db", "merge", "-o", "ids", environ=environ).ok()
    assert merged.out == f"{int(NEXT) + 1:04d}\n"


def test_an_installed_package_is_refused(nobody: Bazar, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    installed = make_installed(tmp_path / "site")
    before = installed.names
    done = installed.run("bazar_cli", "db", "revision", "-m", "x", *JSON, environ=nobody.environment())
    assert (done.code, done.out, done.error["code"]) == (10, "", "db.installed_package")
    assert installed.names == before


def test_an_installed_package_migrates_and_resets_from_any_folder(
    first: On, fresh_database: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "site").mkdir()
    installed = make_installed(tmp_path / "site")
    url = fresh_database()
    bazar = replace(first(url), fresh=True).having(PYTHONPATH=str(installed.folder))
    made = bazar("db", "migrate", "--env", "local", "--unprotected", *JSON).ok()
    assert made.json["current"] == ALL[-1]
    assert [r["revision"] for r in bazar("db", "redo", "--yes", *JSON).ok().json["applied"]] == ALL[-1:]
    assert bazar("db", "reset", "--confirm", name_of(url), *JSON).ok().json["current"] == ALL[-1]
    assert bazar("db", "status", "--check", *JSON).ok().json["pending"] == []
    assert (list(bazar.folder("work").iterdir()), installed.location.name) == ([], "_migrations")


def test_nothing_to_do_is_a_notice(nobody: Bazar, admin: Bazar) -> None:
    merged = nobody("db", "merge", *JSON).ok()
    assert merged.json == {"revision": None, "revises": [ALL[-1]], "message": "", "path": None}
    assert merged.err == f"nothing to merge: {ALL[-1]} is the only head\n"
    same = admin("db", "revision", "--autogenerate", "-m", "none", *JSON).ok()
    assert (same.json["revision"], same.json["path"]) == (None, None)
    assert same.err == "the target matches the models; no file was written\n"
    assert nobody("db", "merge", "-o", "ids", "-q").ok().out == ""


def test_autogenerate_wants_a_database_at_head(
    as_user: Callable[..., Bazar], target: Target, fresh_database: Callable[..., str], first: On
) -> None:
    url = fresh_database()
    bazar = first(url)
    bazar("db", "migrate", ALL[-2], "--no-input").ok()
    done = bazar("db", "revision", "--autogenerate", "-m", "early", "--no-input", *JSON)
    assert (done.code, done.error["code"]) == (6, "db.not_at_head")
    assert "bazar db migrate" in done.error["hint"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE bazar.alembic_version SET version_num = 'newer'")
    done = bazar("db", "revision", "--autogenerate", "-m", "late", "--no-input", *JSON)
    assert (done.code, done.error["code"], done.error["hint"]) == (6, "db.not_at_head", "use a newer checkout")
