"""Another release of bazar: this package with another migrations folder, which tests edit."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import cache_from_source
from pathlib import Path
from textwrap import dedent, indent

import bazar_cli
from bazar_cli.adapters.migrations.revision_files import known_files, paths, revisions, script_location
from tests.support.cli import Bazar, Done, alembic

HEAD = revisions(script_location())[-1].id
"""The newest revision of this checkout."""
ADDED = tuple(f"{int(HEAD) + number:04d}" for number in range(1, 6))
"""The names of revisions that tests add after it."""
NEXT = ADDED[0]


class Release:
    """A folder that looks like a checkout: migrations are found beside the package, wherever it is imported from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.migrations = folder / "migrations"
        shutil.copytree(script_location(), self.migrations, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "bazar_cli").symlink_to(Path(bazar_cli.__file__).parent)
        shutil.copy(script_location().parent / "pyproject.toml", folder)

    @property
    def revisions(self) -> list[str]:
        """The revisions from the first to the head."""
        known_files.cache_clear()
        return [revision.id for revision in revisions(self.migrations)]

    def file(self, revision: str) -> Path:
        """The file of a revision."""
        return paths(self.migrations)[revision]

    def add(self, revision: str, up: str, down: str = "pass", head: str = "", follows: Sequence[str] = ()) -> Path:
        """Write one more revision after the last, or after those of `follows`, and return its file."""
        path = self.migrations / "versions" / f"{revision}_added.py"
        downs = tuple(follows) or (self.revisions[-1],)
        (down_revision,) = downs if len(downs) == 1 else (downs,)
        lines = [
            f'"""Added {revision}."""',
            "from alembic import op",
            f"revision = {revision!r}",
            f"down_revision = {down_revision!r}",
            head,
            "def upgrade():",
            indent(dedent(up).strip(), "    "),
            "def downgrade():",
            indent(dedent(down).strip(), "    "),
        ]
        path.write_text("\n".join(lines) + "\n")
        known_files.cache_clear()
        return path

    def rewrite(self, path: Path, old: str, new: str) -> None:
        """Replace a text in a revision's file.

        Its bytecode goes too: by time in whole seconds and size Python may take that of before for that of now.
        """
        text = path.read_text()
        assert old in text, f"{path.name} has no {old!r}"
        path.write_text(text.replace(old, new))
        Path(cache_from_source(str(path))).unlink(missing_ok=True)
        known_files.cache_clear()

    def add_concurrent(self, revision: str, index: str, table: str = "bazar.users", column: str = "name") -> Path:
        """Write a revision that makes an index without a transaction."""
        block = "with op.get_context().autocommit_block():\n    op.execute({!r})"
        return self.add(
            revision,
            block.format(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {index} ON {table} ({column})"),
            block.format(f"DROP INDEX CONCURRENTLY IF EXISTS bazar.{index}"),
            "transactional = False",
        )

    def on(self, bazar: Bazar) -> Bazar:
        """`bazar` of this release."""
        return replace(bazar, package=self.folder / "bazar_cli").having(PYTHONPATH=str(self.folder))

    def alembic(self, url: str, *words: str) -> Done:
        """Run plain Alembic in this folder."""
        return alembic(url, *words, cwd=self.folder)
