"""A checkout for a test that writes migration files, and the same as an installed package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.cli import Done

ROOT = Path(__file__).parents[2]
_CODE = ROOT / "bazar_cli"


@dataclass(frozen=True)
class Checkout:
    """A folder with the code, by links, and with copies of the migration files."""

    folder: Path

    @property
    def location(self) -> Path:
        """The folder of the migrations."""
        packaged = self.folder / "bazar_cli" / "_migrations"
        return packaged if packaged.is_dir() else self.folder / "migrations"

    @property
    def names(self) -> list[str]:
        """The files of the revisions."""
        return sorted(path.name for path in (self.location / "versions").glob("*.py"))

    def write(self, revision: str, down: str | tuple[str, ...] | None, upgrade: str = "SELECT 1") -> Path:
        """Write a revision by hand."""
        path = self.location / "versions" / f"{revision}_by_hand.py"
        head = f'"""Revision {revision}."""\n\nfrom alembic import op\n\n'
        names = f"revision = {revision!r}\ndown_revision = {down!r}\n\n\n"
        body = f"def upgrade() -> None:\n    op.execute({upgrade!r})\n\n\ndef downgrade() -> None:\n    pass\n"
        path.write_text(head + names + body)
        return path

    def run(self, program: str, *words: str, environ: Mapping[str, str]) -> Done:
        """Run a console script's module in the folder, with its code before the one that is installed."""
        command = [sys.executable, "-m", program, *words]
        environ = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **environ}
        done = subprocess.run(
            command, cwd=self.folder, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        return Done(done.returncode, done.stdout, done.stderr)


def make_checkout(folder: Path) -> Checkout:
    """Make a checkout in an empty folder."""
    (folder / "bazar_cli").symlink_to(_CODE)
    shutil.copytree(ROOT / "migrations", folder / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return Checkout(folder)


def make_installed(folder: Path) -> Checkout:
    """Make an installed package in an empty folder: the migrations are inside the package."""
    package = folder / "bazar_cli"
    package.mkdir()
    for path in _CODE.iterdir():
        (package / path.name).symlink_to(path)
    shutil.copytree(ROOT / "migrations", package / "_migrations", ignore=shutil.ignore_patterns("__pycache__"))
    return Checkout(folder)
