"""The house: dependencies point one way, and what only some may do, only they do."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.tree import ALL, verb

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "bazar_cli").rglob("*.py"))


@cache
def calls(path: Path) -> frozenset[str]:
    """Return the name of every function that a module calls."""
    return frozenset(_calls(path))


def _calls(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id
            elif isinstance(node.func, ast.Attribute):
                yield node.func.attr


def callers(name: str) -> set[str]:
    """Return the modules that call a function of this name."""
    return {str(path.relative_to(ROOT)) for path in SOURCES if name in calls(path)}


def test_import_contracts_hold() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_commands_to_paste_are_made_in_one_place() -> None:
    # Whoever quotes values for a command by themselves forgets those that begin with a hyphen.
    shells = {str(path.relative_to(ROOT / "bazar_cli")) for path in SOURCES if "shlex" in path.read_text()}
    assert shells == {
        "domain/command_lines.py",
        "terminal/batch_lines.py",  # it splits lines
        "terminal/unknown.py",  # the words that were typed, in another order
        "terminal/views/local.py",  # export NAME=value
    }


def test_registry_names_modules_that_exist() -> None:
    # The linter does not see imports by name.
    for _, leaf in ALL.values():
        verb(leaf)


def test_only_the_policy_mints_a_grant() -> None:
    assert callers("mint") == {"bazar_cli/domain/authz/policy.py"}
    assert callers("Grant") == {"bazar_cli/domain/authz/spec.py"}


def test_only_the_gate_asks_the_policy() -> None:
    assert callers("decide") | callers("decide_bootstrap") == {"bazar_cli/services/gate/gate.py"}


def test_only_the_gate_connects_without_a_grant() -> None:
    assert callers("connect_for_gate") == {"bazar_cli/adapters/postgres/gate.py"}


@pytest.mark.parametrize("opener", ["AdminClient", "Database", "Migrator", "Resetter", "Reverter", "Server"])
def test_only_the_backends_open_a_system(opener: str) -> None:
    # They demand a Grant first. The embedded stack starts servers of its own.
    found = {path for path in callers(opener) if not path.startswith("bazar_cli/devstack/")}
    assert found == {"bazar_cli/services/gate/backends.py"}


def test_consent_is_asked_in_one_place() -> None:
    asking = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        for asks in ("prompter.yes(", "prompter.word(")
        if asks in path.read_text()
    }
    assert asking == {"bazar_cli/terminal/run.py"}
    assert callers("covers") == {"bazar_cli/domain/consent.py"}


def test_targets_are_connected_to_in_one_place() -> None:
    places = {str(p.relative_to(ROOT)): p.read_text() for p in SOURCES if "devstack" not in p.parts}
    assert not {place for place, text in places.items() if "psycopg.connect(" in text}
    found = {place for place, text in places.items() if "Connection.connect(" in text}
    assert found == {"bazar_cli/adapters/postgres/connections.py"}


def test_the_environment_is_read_in_few_places() -> None:
    readers = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if "os.environ" in path.read_text() or "getenv" in path.read_text()
    }
    alone = {"bazar_cli/main.py", "bazar_cli/terminal/completion.py", "bazar_cli/adapters/migrations/alembic_env.py"}
    alone |= {"bazar_cli/adapters/postgres/connections.py"}  # to take out of it what libpq would read
    alone |= {"bazar_cli/api/serving/serve.py"}  # to take out of it what no request may use
    alone |= {"bazar_cli/api/serving/metrics.py"}  # the library of metrics looks there for its folder
    assert {r for r in readers if not r.startswith("bazar_cli/devstack/")} <= alone


def test_every_package_says_what_it_is_for_and_what_never_belongs_there() -> None:
    packages = [path for path in SOURCES if path.name == "__init__.py"]
    assert len(packages) > 20
    for path in packages:
        lines = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")
        said = [line for line in lines if line]
        assert 1 <= len(said) <= 4, path
        # What never belongs into a group of commands is said once, above them.
        assert path.parent.parent.name == "commands" or path.parents[2].name == "commands" or "Never here" in said[1], (
            path
        )
