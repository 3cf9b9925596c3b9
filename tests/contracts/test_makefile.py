"""The Makefile's environment: what a run that was cut off leaves is made anew."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bazar_cli.devstack.postgres import DATABASE
from tests.support.pythons import OLD_PYTHONS

_MAKEFILE = Path(__file__).parents[2] / "Makefile"
_PYTHON = """\
#!/bin/sh
[ "$2" = venv ] || exit 0
echo "$*" >>venv.log
case $* in *--clear*) rm -rf .venv ;; esac
mkdir -p .venv/bin
[ -e .venv/bin/python ] || { echo '#!/bin/sh' >.venv/bin/python; chmod 755 .venv/bin/python; }
"""
_BUILD = """\
#!/bin/sh
mkdir dist x-1
touch x-1/PKG-INFO
for file in *; do case $file in dist|x-1) ;; *) cp "./$file" x-1 ;; esac; done
tar -czf dist/x-1.tar.gz x-1/*
rm -r x-1
"""
_BROKEN = "#!/bin/sh\nexit 1\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in a folder with a space, and a Python whose `venv` makes environments that only pretend."""
    folder = tmp_path / "a checkout"
    folder.mkdir()
    (folder / "Makefile").write_text(_MAKEFILE.read_text())
    (folder / "pyproject.toml").touch()
    (folder / "constraints.txt").touch()
    python = folder / "python-stub"
    python.write_text(_PYTHON)
    python.chmod(0o755)
    return folder


def make(checkout: Path) -> int:
    command = ["make", "PYTHON=./python-stub", ".venv/.runtime"]
    return subprocess.run(command, cwd=checkout, capture_output=True, check=False).returncode


def test_environment_without_a_stamp_is_built_again(checkout: Path) -> None:
    python = checkout / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(_BROKEN)
    python.chmod(0o755)
    assert make(checkout) == 0
    assert (checkout / ".venv/.runtime").exists()


def test_environment_after_an_interrupted_build_is_built_again(checkout: Path) -> None:
    assert make(checkout) == 0
    stamp, python = checkout / ".venv/.runtime", checkout / ".venv/bin/python"
    python.write_text(_BROKEN)
    (checkout / "pyproject.toml").write_text("newer")
    assert make(checkout) != 0
    assert not stamp.exists()
    assert make(checkout) == 0
    assert stamp.exists()


def test_reset_db_resets_the_embedded_stack_and_starts_it() -> None:
    command = ["make", "--dry-run", "reset-db"]
    done = subprocess.run(command, cwd=_MAKEFILE.parent, capture_output=True, text=True, check=True)
    said = [line.partition("bin/bazar ")[2] for line in done.stdout.splitlines() if "bin/bazar " in line]
    assert said == ["local start", f"db reset --identities --confirm {DATABASE} --profile local"]


@pytest.mark.skipif(not OLD_PYTHONS, reason="no Python is installed that is too old for bazar")
def test_old_python_is_refused_in_a_sentence(checkout: Path) -> None:
    old = OLD_PYTHONS[-1]
    command = ["make", "--no-print-directory", f"PYTHON={old}", "start"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    (said,) = done.stderr.splitlines()
    assert f"bazar needs Python 3.10 or newer, and {old} is Python " in said
    assert (done.returncode, done.stdout) == (2, "")
    assert not (checkout / ".venv").exists()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one tracked file, and a `build` that puts all its files but `.git` into the sdist."""
    folder = tmp_path / "repository"
    for path, text in {"Makefile": _MAKEFILE.read_text(), "pyproject.toml": "", "constraints.txt": ""}.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)
    programs = {"python": _BUILD, "twine": "#!/bin/sh\n", "check-wheel-contents": "#!/bin/sh\n"}
    for name, script in programs.items():
        program = folder / ".venv/bin" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(script)
        program.chmod(0o755)
    for stamp in (".runtime", ".dev"):
        (folder / ".venv" / stamp).touch()
    for words in (("init", "--quiet"), ("add", "Makefile", "pyproject.toml", "constraints.txt")):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


def dist(repository: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "dist"], cwd=repository, capture_output=True, text=True, check=False)


def test_dist_has_what_git_tracks(repository: Path) -> None:
    done = dist(repository)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (repository / "dist").iterdir()] == ["x-1.tar.gz"]


@pytest.mark.parametrize("name", ["service-key.txt", "a key", "*", ":!Makefile"])
def test_dist_with_a_file_that_git_does_not_track_is_removed(repository: Path, name: str) -> None:
    (repository / name).write_text("sb_secret")
    done = dist(repository)
    assert done.returncode != 0
    assert f"'{name}'" in done.stderr
    assert "Git does not track" in done.stderr
    assert not (repository / "dist").exists()
