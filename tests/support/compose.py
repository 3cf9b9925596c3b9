"""docker/: the compose file read as YAML, and the files that make_env.py makes for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.support.checkout import ROOT
from tests.support.cli import Done

PATH = ROOT / "docker/compose.yml"
MAKE_ENV = ROOT / "docker/server/make_env.py"


def compose() -> dict[str, Any]:
    """Return the file with its merges, before variables are replaced."""
    return yaml.safe_load(PATH.read_text())


def make_env(folder: Path, *words: str) -> Done:
    """Run make_env.py in a folder, as in docker/server."""
    script = folder / MAKE_ENV.name
    if not script.exists():
        shutil.copy(MAKE_ENV, script)
    done = subprocess.run([sys.executable, "-I", str(script), *words], capture_output=True, text=True)
    return Done(done.returncode, done.stdout, done.stderr)


def values(path: Path) -> dict[str, str]:
    """Return the variables of a file that make_env.py made."""
    return dict(line.split("=", 1) for line in path.read_text().splitlines())
