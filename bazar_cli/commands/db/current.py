"""`bazar db current`."""

from __future__ import annotations

from bazar_cli.domain.db.migrations import CURRENT, CurrentRevision, GetCurrent
from bazar_cli.services.db import status
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.database import CURRENT_REVISION


@command(CURRENT, view=CURRENT_REVISION, examples=("bazar db current", "bazar db current -o ids"))
def run(run: Run[CurrentRevision]) -> None:
    """Print the revision of the database."""
    found = run.perform(status.current, GetCurrent())
    if found.revision is None:
        run.notice("the database has no revision yet; `bazar db migrate` creates its tables")
    run.show(found)
