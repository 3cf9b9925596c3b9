"""Alembic's directory of revisions, limited to the files that bazar counts as revisions.

Alembic itself loads each `*.py` of a folder, also the copies that editors and macOS leave there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionError, RevisionMap
from alembic.util import load_python_file

from bazar_cli.adapters.migrations.revision_files import source, sources, unreadable
from bazar_cli.domain.errors import Conflict

if TYPE_CHECKING:
    from alembic.config import Config


def script_directory(config: Config, *folders: Path) -> ScriptDirectory:
    """Return Alembic's directory of the revisions in `folders`, with all files loaded.

    So an error names the file that fails, and not the revision that is next. Raises: Conflict `db.revision_unreadable`.
    """
    directory = ScriptDirectory.from_config(config)
    scripts = [_loaded(path) for folder in folders for path in sources(folder)]
    directory.revision_map = RevisionMap(lambda: scripts)
    try:
        _ = directory.revision_map.heads
    except (LookupError, TypeError, RevisionError) as error:
        raise _failed(folders[0].name, "does not fit together", error) from error
    return directory


def _loaded(path: Path) -> Script:
    source(path)  # Alembic would wait for a pipe
    try:
        module = load_python_file(path.parent, path.name)
        return Script(module, module.revision, path)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the code of a revision may raise anything
        raise _failed(path.name, "cannot be loaded", error) from error


def _failed(name: str, what: str, error: BaseException) -> Conflict:
    reason = f"{type(error).__name__}: {error}".partition("\n")[0]
    return unreadable(name, f"{what}: {reason}", "correct the file, then run the command again")
