"""The modules that each kind of start imports, in a real process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bazar_cli.domain.entities import Plan
from bazar_cli.domain.target import Target
from tests.support.cli import Bazar
from tests.support.people import People, an_address

_PROBE = """
import json, sys
sys.argv = ["bazar", *sys.argv[1:]]
from bazar_cli.main import main
try:
    code = main()
except SystemExit as ended:
    code = ended.code
print("\\n@@" + json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""
_GARBAGE = """
import gc, sys
from bazar_cli.main import main
sys.argv = ["bazar", "--version"]
main()
def collections():
    return sum(generation["collections"] for generation in gc.get_stats())
before, kept = collections(), [[] for _ in range(120_000)]
assert collections() == before, "a start looks for garbage"
kept += [[] for _ in range(120_000)]
assert collections() > before, "a long command keeps its garbage"
"""
HELP = ("leaf_help", "command_texts", "help_text", "width")
SLOW = {"typer", "typing", "dataclasses", "inspect", "pathlib", "textwrap"}
HEAVY = {
    *("sqlalchemy", "psycopg", "alembic", "supabase", "supabase_auth", "pydantic", "pydantic_settings", "httpx"),
    *(
        "aiohttp",
        "httpx_aiohttp",
        "keyring",
        "jwt",
        "bcrypt",
        "rich",
        "yaml",
        "logging",
        "asyncio",
        "anyascii",
        "psutil",
    ),
    *("bazar_cli.devstack.stack", "bazar_cli.adapters.traces", "http.client"),
}


def modules_of(*words: str, environ: dict[str, str] | None = None) -> set[str]:
    """Run a command line and return what it imported."""
    kept = {k: v for k, v in os.environ.items() if k in {"PATH", "HOME"}}
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, *words],
        capture_output=True,
        text=True,
        env={**kept, **(environ or {})},
        check=True,
    )
    code, modules = json.loads(done.stderr.rpartition("@@")[2])
    assert code == 0, done.stderr
    return set(modules)


@pytest.mark.parametrize(
    "words", [("--version",), (), ("--help",), ("users",), ("users", "--help"), ("config", "profiles")]
)
def test_listings_import_no_typer(words: tuple[str, ...]) -> None:
    modules = modules_of(*words)
    assert not modules & (HEAVY | {"typer", "bazar_cli.terminal.command", "bazar_cli.domain.users.users"})


def test_version_reads_one_file_beside_main() -> None:
    modules = modules_of("--version")
    assert {m for m in modules if m.startswith("bazar_cli")} == {"bazar_cli", "bazar_cli.main", "bazar_cli.registry"}
    assert "importlib.metadata" not in modules


@pytest.mark.parametrize("words", [("__complete", "us"), ("__complete", "users", "cr"), ("__complete", "")])
def test_completion_of_names_imports_no_typer(words: tuple[str, ...]) -> None:
    assert not modules_of(*words) & (HEAVY | {"typer"})


@pytest.mark.parametrize(
    "words", [("users", "list", "--help"), ("users", "create", "ada@example.com", "-h"), ("db", "env", "set", "--help")]
)
def test_help_of_a_verb_imports_only_its_text_and_layout(words: tuple[str, ...]) -> None:
    own = {m for m in modules_of(*words) if m.startswith("bazar_cli.")}
    names = ("main", "registry", "terminal", *(f"terminal.{name}" for name in HELP))
    assert own == {f"bazar_cli.{name}" for name in names}
    assert not modules_of(*words) & SLOW


@pytest.mark.parametrize(
    ("words", "more"),
    [
        (("users", "list"), {"leaf_help", "command_texts"}),
        (("users",), {"listing"}),
        (("exit-codes",), {"topics"}),
        (("users.not_found",), {"topics", "error_texts"}),
    ],
)
def test_help_on_something_imports_as_little_as_its_own_help(words: tuple[str, ...], more: set[str]) -> None:
    modules = modules_of("help", *words)
    own = {m.removeprefix("bazar_cli.terminal.") for m in modules if m.startswith("bazar_cli.terminal.")}
    assert own == {"help_words", "help_text", "width", *more}
    assert not modules & SLOW


@pytest.mark.parametrize(
    "words", [("users", "list", "--"), ("users", "list", "-o", ""), ("users", "list", "--fields", "")]
)
def test_completion_of_options_imports_nothing_of_the_command(words: tuple[str, ...]) -> None:
    modules = modules_of("__complete", *words)
    own = {m for m in modules if m.startswith("bazar_cli.")}
    names = (
        "main",
        "registry",
        "terminal",
        *(f"terminal.{n}" for n in ("completion", "leaf_completion", "command_texts")),
    )
    assert own == {"bazar_cli.terminal.command_texts", *(f"bazar_cli.{name}" for name in names)}
    assert not modules & {"typer", "typing", "dataclasses", "pathlib"}


def test_read_imports_no_http_library(tmp_path: Path, target: Target) -> None:
    with People(target) as people:
        someone = people.user(plan=Plan.PREMIUM, superuser=True)
        people.identity(someone)
        bazar = Bazar(tmp_path).on(target).having(BAZAR_TOKEN=people.access_token(someone))
    bazar("users", "me").ok()  # fills the cache of keys
    modules = modules_of("users", "get", someone.email, "-o", "json", environ=bazar.environment())
    assert not modules & {"httpx", "supabase_auth", "alembic", "sqlalchemy", "keyring", "rich", "yaml", "click"}
    assert "bazar_cli.adapters.traces" not in modules
    assert not {name for name in modules if name.startswith("bazar_cli.") and name.endswith("changes")}
    assert "psycopg" in modules


def test_a_write_imports_no_sqlalchemy(tmp_path: Path, target: Target) -> None:
    with People(target) as people:
        someone = people.superuser()
        people.identity(someone)
        bazar = Bazar(tmp_path).on(target).having(BAZAR_TOKEN=people.access_token(someone))
        modules = modules_of("users", "create", an_address(), environ=bazar.environment())
    assert "psycopg" in modules
    assert not modules & {"alembic", "sqlalchemy", "aiohttp"}


@pytest.mark.parametrize("words", [("db", "heads"), ("db", "history")])
def test_migration_files_are_read_without_alembic(tmp_path: Path, words: tuple[str, ...]) -> None:
    modules = modules_of(*words, environ=Bazar(tmp_path).environment())
    assert not modules & {"alembic", "sqlalchemy", "pydantic", "httpx", "mako"}


def test_looking_at_migrations_imports_neither_alembic_nor_sqlalchemy(tmp_path: Path, target: Target) -> None:
    with People(target) as people:
        someone = people.superuser()
        people.identity(someone)
        bazar = Bazar(tmp_path).on(target).having(BAZAR_TOKEN=people.access_token(someone))
    bazar("users", "me").ok()  # fills the cache of keys
    unwanted = {"alembic", "mako", "sqlalchemy", "rich", "click", "yaml", "keyring"}
    for words in (("status", "--check", "-o", "json"), ("current",), ("migrate", "-o", "json")):
        modules = modules_of("db", *words, environ=bazar.environment())
        assert modules & unwanted == set(), words
        # A command that writes asks Supabase whether the session is still valid.
        assert words[0] == "migrate" or not modules & {"httpx", "supabase_auth"}, words


def test_a_trace_costs_imports_only_where_a_collector_is_named(tmp_path: Path) -> None:
    bazar = Bazar(tmp_path)
    without = modules_of("config", "path", environ=bazar.environment())
    named = bazar.having(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1").environment()
    more = modules_of("config", "path", environ=named) - without
    assert not without & {"bazar_cli.adapters.traces", "http.client", "socket"}
    assert {m for m in more if m.startswith("bazar_cli.")} == {"bazar_cli.adapters.traces"}
    assert not more & {"httpx", "pydantic", "psycopg"}


def test_verb_imports_no_pydantic(tmp_path: Path) -> None:
    # Only a target from environment variables needs it; plain Typer would need it for every value.
    modules = modules_of("config", "path", environ=Bazar(tmp_path).environment())
    assert not modules & {"pydantic", "pydantic_settings", "sqlalchemy", "httpx", "rich"}


def test_only_long_commands_look_for_garbage() -> None:
    subprocess.run([sys.executable, "-c", _GARBAGE], check=True, stdout=subprocess.DEVNULL)
