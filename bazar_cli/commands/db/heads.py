"""`bazar db heads`."""

from __future__ import annotations

from bazar_cli.domain.db.revisions import HEADS, RevisionFile
from bazar_cli.services.db import revisions
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.migration_files import FILE


@command(HEADS, view=FILE, examples=("bazar db heads", "bazar db heads -o ids"))
def run(run: Run[RevisionFile]) -> None:
    """Show the head of the migration files, or the heads that `bazar db merge` joins."""
    run.show_all(revisions.heads())
