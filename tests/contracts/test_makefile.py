"""The Makefile's environment: what a run that was cut off leaves is made anew."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bazar_cli.devstack.postgres import DATABASE

_MAKEFILE = Path(__file__).parents[2] / "Makefile"
_PYTHON = """\
#!/bin/sh
[ "$2" = venv ] || exit 0
echo "$*" >>venv.log
case $* in *--clear*) rm -rf .venv ;; esac
mkdir -p .venv/bin
[ -e .venv/bin/python ] || { echo '#!/bin/sh' >.venv/bin/python; chmod 755 .venv/bin/python; }
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
