"""The sdist and the wheels of this checkout, built as `make dist` builds them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.checkout import ROOT

PLANTED = (
    ".env",
    ".env.prod",
    "bazar.dump",
    "docker/server/.env",
    "docker/server/.env.bak",
    "docker/server/secrets/bazar.env",
    "tests/.env",
    "bazar_cli/.env",
    "bazar_cli/.env.local",
    "bazar_cli/bazar.dump",
    "migrations/.env",
    "man/man1/.env",
    ".venv/lib/module.py",
    "bazar_cli/__pycache__/main.cpython-312.pyc",
    "tests/.hypothesis/example",
    "tests/.pytest_cache/README.md",
    "dist/old.whl",
)
"""Files that a working folder may have, and that no distribution has: secrets, caches and products."""


@dataclass(frozen=True)
class Distributions:
    """What was built from one copy of the checkout."""

    sdist: Path
    wheel: Path
    """Built from the sdist."""
    wheel_of_tree: Path
    """Built from the copy itself."""

    @property
    def sdist_names(self) -> set[str]:
        """The files of the sdist, without its top folder."""
        with tarfile.open(self.sdist) as archive:
            return {name.partition("/")[2] for name in archive.getnames()}

    @property
    def wheel_names(self) -> list[str]:
        """The files of the wheel."""
        with zipfile.ZipFile(self.wheel) as archive:
            return archive.namelist()


def tracked() -> set[str]:
    """Return the files that Git knows of."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in done.stdout.split("\0") if name}


def build(folder: Path) -> Distributions:
    """Build the tracked files, in a copy that also has the files of PLANTED."""
    copy = folder / "checkout"
    for name in tracked():
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    for name in PLANTED:
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("SUPABASE_KEY=sb_secret_planted\n")
    _build(copy, folder / "dist")
    _build(copy, folder / "tree", "--wheel")
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    (wheel,) = (folder / "dist").glob("*.whl")
    (wheel_of_tree,) = (folder / "tree").glob("*.whl")
    return Distributions(sdist, wheel, wheel_of_tree)


def _build(copy: Path, out: Path, *options: str) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), *options, str(copy)]
    done = subprocess.run(command, cwd=copy.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
