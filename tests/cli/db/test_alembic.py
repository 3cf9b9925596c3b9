"""Plain `alembic` in a checkout: the same migrations, without bazar's own command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg

from bazar_cli.adapters.migrations.revision_files import revisions, script_location
from tests.cli.db.conftest import has_schema, marker_of, schema_of
from tests.support.checkout import make_checkout
from tests.support.cli import alembic as plain_alembic

ALL = [r.id for r in revisions(script_location())]
_CHECKOUT = Path(__file__).parents[3]


def alembic(url: str | None, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the console script beside this Python in the checkout's folder."""
    environ = {"PATH": os.environ["PATH"], **({"DATABASE_URL": url} if url else {}), **more}
    program = Path(sys.executable).with_name("alembic")
    return subprocess.run(
        [program, *words], cwd=_CHECKOUT, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


def test_the_words_of_the_product(fresh_database: Callable[..., str]) -> None:
    url, template = fresh_database(), fresh_database(migrated=True)
    forked = partial(plain_alembic, url, cwd=_CHECKOUT)
    assert (forked("current").ok().out, has_schema(url)) == ("", False)
    up = alembic(url, "upgrade", "head")
    assert up.returncode == 0, up.stderr
    assert schema_of(url) == schema_of(template)
    assert marker_of(url) == ("production", True)
    assert forked("current").ok().out.split() == [ALL[-1], "(head)"]
    forked("downgrade", "-1").ok()
    assert forked("current").ok().out.split() == [ALL[-2]]
    forked("downgrade", "base").ok()
    assert not has_schema(url)


def test_history_needs_no_database() -> None:
    history = alembic(None, "history", "--verbose")
    assert history.returncode == 0
    assert [line for line in history.stdout.splitlines() if line.startswith("Rev: ")] == [
        f"Rev: {ALL[-1]} (head)",
        *(f"Rev: {name}" for name in reversed(ALL[:-1])),
    ]
    assert f"Parent: {ALL[0]}" in history.stdout


def test_revision_autogenerate_sees_the_schema_bazar_alone(tmp_path: Path, fresh_database: Callable[..., str]) -> None:
    url = fresh_database(migrated=True)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA storage; CREATE TABLE storage.objects (id int)")
        connection.execute("CREATE TABLE public.things (id int); DROP INDEX bazar.users_pending_idx")
    checkout = make_checkout(tmp_path)
    before = set(checkout.names)
    environ = {"DATABASE_URL": url}
    done = checkout.run("alembic", "revision", "--autogenerate", "-m", "Mend what is lost", environ=environ).ok()
    (name,) = set(checkout.names) - before
    assert name.endswith("_mend_what_is_lost.py")
    text = (checkout.location / "versions" / name).read_text()
    assert "op.create_index('users_pending_idx', 'users'" in text
    assert "import sqlalchemy as sa\nfrom alembic import op\n" in text
    assert not [word for word in ("storage", "things", "drop_table") if word in text + done.err]
    checkout.run("alembic", "upgrade", "head", environ=environ).ok()
    assert "users_pending_idx" in {row[1] for row in schema_of(url)["indexes"]}


def test_without_a_database_it_says_what_to_set() -> None:
    done = alembic(None, "current")
    assert done.returncode != 0
    assert "set DATABASE_URL" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_url_that_cannot_be_used_is_refused_in_a_sentence() -> None:
    done = alembic("postgresql://someone:very-secret@db.example.com/postgres", "upgrade", "head")
    said = done.stderr + done.stdout
    assert done.returncode not in {0, 1}
    assert "FAILED: DATABASE_URL would send secrets to db.example.com unencrypted" in said
    assert "BAZAR_ALLOW_PLAINTEXT=db.example.com" in said
    assert not [word for word in ("Traceback", "very-secret") if word in said]
