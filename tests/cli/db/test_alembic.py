"""Plain `alembic` in a checkout: the same migrations, without bazar's own command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bazar_cli.adapters.migrations.location import revisions, script_location
from tests.cli.db.conftest import has_schema, marker_of, schema_of

ALL = [r.id for r in revisions(script_location())]
_CHECKOUT = Path(__file__).parents[3]


def alembic(url: str | None, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the console script beside this Python in the checkout's folder."""
    environ = {"PATH": os.environ["PATH"], **({"DATABASE_URL": url} if url else {}), **more}
    program = Path(sys.executable).with_name("alembic")
    return subprocess.run(
        [program, *words], cwd=_CHECKOUT, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


def test_upgrade_current_history_and_downgrade(fresh_database: Callable[..., str]) -> None:
    url, template = fresh_database(), fresh_database(migrated=True)
    up = alembic(url, "upgrade", "head")
    assert up.returncode == 0, up.stderr
    assert schema_of(url) == schema_of(template)
    assert marker_of(url) == ("production", True)
    current = alembic(url, "current")
    assert (current.returncode, current.stdout.split()) == (0, [ALL[-1], "(head)"])
    history = alembic(url, "history")
    assert history.returncode == 0
    assert f"<base> -> {ALL[0]}" in history.stdout
    assert f"{ALL[-1]} (head)" in history.stdout
    down = alembic(url, "downgrade", "base")
    assert down.returncode == 0, down.stderr
    assert not has_schema(url)


def test_without_a_database_it_says_what_to_set() -> None:
    done = alembic(None, "current")
    assert done.returncode != 0
    assert "set DATABASE_URL" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
