"""Alembic over chosen revisions: the files are read once, and the caller acts between any two revisions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationStep

from bazar_cli.adapters.migrations.alembic_directory import script_directory

if TYPE_CHECKING:
    from alembic.config import Config


class AlembicRun:
    """Runs upgrades and downgrades over the revisions that an iterator names.

    Alembic's commands read every file at each call: fifty revisions one by one would read 2,500 files. Here the
    iterator is asked for the next revision once the one before is committed.

    Parameters: with `as_sql` the statements are written to the configuration's output; its attribute `applied` names
    the revisions that are applied before.
    """

    def __init__(self, config: Config, *, as_sql: bool = False) -> None:
        self._config = config
        self._as_sql = as_sql
        self._directory = script_directory(config, Path(config.get_main_option("script_location") or "") / "versions")

    def up(self, revisions: Iterable[str]) -> None:
        """Upgrade over revisions, each after those that it follows. Raises: as their code does, and the iterator."""
        self._run(revisions, MigrationStep.upgrade_from_script)

    def down(self, revisions: Iterable[str]) -> None:
        """Downgrade over revisions, each before those that it follows. Raises: as `up`."""
        self._run(revisions, MigrationStep.downgrade_from_script)

    def _run(self, revisions: Iterable[str], step: Callable[..., Any]) -> None:
        def steps(_current: object, _context: object) -> Iterator[Any]:
            for revision in revisions:
                yield step(self._directory.revision_map, self._directory.get_revision(revision))

        with EnvironmentContext(self._config, self._directory, fn=steps, as_sql=self._as_sql):
            try:
                self._directory.run_env()
            except (Exception, KeyboardInterrupt):
                raise
            except SystemExit as ended:
                # A revision neither ends the command nor sets its exit code.
                raise RuntimeError(f"it called sys.exit({ended.code!r})") from ended
            except BaseException as ended:  # such as asyncio's CancelledError, which no caller catches
                raise RuntimeError(f"{type(ended).__name__}: {ended}") from ended
