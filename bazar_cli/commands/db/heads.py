"""`bazar db heads`."""

from __future__ import annotations

from bazar_cli.domain.migration_files import HEADS, RevisionFile
from bazar_cli.runtime.command import command
from bazar_cli.runtime.run import Run
from bazar_cli.runtime.views.migration_files import FILE
from bazar_cli.services import migration_files


@command(HEADS, view=FILE, examples=("bazar db heads", "bazar db heads -o ids"))
def run(run: Run[RevisionFile]) -> None:
    """Show the revision that the migration files end in, or several that `bazar db merge` joins."""
    run.show_all(migration_files.heads())
