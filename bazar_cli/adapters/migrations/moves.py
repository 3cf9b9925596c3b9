"""Moving a database over one revision at a time: each alone, so that it can be retried, and the files read once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationStep
from alembic.script import ScriptDirectory

if TYPE_CHECKING:
    from alembic.config import Config


class Moves:
    """What `alembic upgrade` and `downgrade` do to the next revision, whichever of several that is.

    Alembic's commands read every file anew at each call, so that fifty revisions would read 2,500.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._directory = ScriptDirectory.from_config(config)

    def up(self, revision: str) -> None:
        """Apply a revision whose ancestors are applied. Raises: as its code does."""
        self._run(revision, MigrationStep.upgrade_from_script)

    def down(self, revision: str) -> None:
        """Take a revision back that no applied one follows. Raises: as its code does."""
        self._run(revision, MigrationStep.downgrade_from_script)

    def _run(self, revision: str, step: Callable[..., Any]) -> None:
        def steps(_current: object, _context: object) -> list[Any]:
            return [step(self._directory.revision_map, self._directory.get_revision(revision))]

        with EnvironmentContext(self._config, self._directory, fn=steps, destination_rev=revision):
            self._directory.run_env()
