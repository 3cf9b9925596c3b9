"""Alembic's view of the revisions: the files that bazar takes for revisions, and no others.

Alembic by itself loads each `*.py` of a folder, also what editors and macOS put there beside the file that they name.
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
    """Return Alembic's directory of the revisions in `folders`, all of which are loaded.

    So a file that fails then is named, and not the revision that happens to be next.
    Raises: Conflict `db.revision_unreadable`.
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
    except BaseException as error:  # a revision is code of its own, which may raise anything
        raise _failed(path.name, "cannot be loaded", error) from error


def _failed(name: str, what: str, error: BaseException) -> Conflict:
    said = f"{type(error).__name__}: {error}".partition("\n")[0]
    return unreadable(name, f"{what}: {said}", "mend what it says, then run the command again")
