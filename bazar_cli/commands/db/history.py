"""`bazar db history`."""

from __future__ import annotations

from bazar_cli.domain.db.revisions import HISTORY, RevisionFile
from bazar_cli.services.db import revisions
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.migration_files import FILE


@command(HISTORY, view=FILE, examples=("bazar db history", "bazar db history -o json"))
def run(run: Run[RevisionFile]) -> None:
    """List the migration files, newest first.

    It does not connect to a database: `bazar db status` shows the applied revisions.
    """
    run.show_all(revisions.history())
