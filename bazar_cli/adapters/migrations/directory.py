"""Alembic's view of the revisions: the files that bazar takes for revisions, and no others.

Alembic by itself loads each `*.py` of a folder, also what editors and macOS put there beside the file that they name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionMap
from alembic.util import load_python_file

from bazar_cli.adapters.migrations.location import source, sources

if TYPE_CHECKING:
    from alembic.config import Config


def script_directory(config: Config, *folders: Path) -> ScriptDirectory:
    """Return Alembic's directory of the revisions in `folders`. Raises: Conflict `db.revision_unreadable`."""
    directory = ScriptDirectory.from_config(config)
    directory.revision_map = RevisionMap(lambda: _scripts(folders))
    return directory


def _scripts(folders: tuple[Path, ...]) -> Iterator[Script]:
    for folder in folders:
        for path in sources(folder):
            source(path)  # Alembic would wait for a pipe
            module = load_python_file(folder, path.name)
            yield Script(module, module.revision, path)
