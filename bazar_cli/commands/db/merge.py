"""`bazar db merge`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.domain.db.revisions import MERGE, MergeHeads, NewRevision
from bazar_cli.services.db import revisions
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.migration_files import NEW


@command(MERGE, view=NEW, examples=("bazar db merge", 'bazar db merge -m "join invoices and refunds"'))
def run(
    run: Run[NewRevision],
    message: Annotated[
        str | None, Option("--message", "-m", help="reason (default: names the heads)", metavar="TEXT")
    ] = None,
) -> None:
    """Write a migration file that joins two heads of a checkout."""
    made = revisions.merge(MergeHeads(message, run.options.dry_run))
    if made.path is None:
        run.notice(f"nothing to merge: {made.down[0]} is the only head")
    else:
        run.notice_dry_run()
    run.show(made)
