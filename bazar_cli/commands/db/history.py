"""`bazar db history`."""

from __future__ import annotations

from bazar_cli.domain.migration_files import HISTORY, RevisionFile
from bazar_cli.runtime.command import command
from bazar_cli.runtime.run import Run
from bazar_cli.runtime.views.migration_files import FILE
from bazar_cli.services import migration_files


@command(HISTORY, view=FILE, examples=("bazar db history", "bazar db history -o json"))
def run(run: Run[RevisionFile]) -> None:
    """List the migration files, the newest first.

    It looks at no database: `bazar db status` says what is applied.
    """
    run.show_all(migration_files.history())
