"""`bazar db merge`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.domain.migration_files import MERGE, MergeHeads, NewRevision
from bazar_cli.runtime.command import command
from bazar_cli.runtime.run import Run
from bazar_cli.runtime.views.migration_files import NEW
from bazar_cli.services import migration_files


@command(MERGE, view=NEW, examples=("bazar db merge", 'bazar db merge -m "join invoices and refunds"'))
def run(
    run: Run[NewRevision],
    message: Annotated[
        str | None, Option("--message", "-m", help="why (default: names the heads)", metavar="TEXT")
    ] = None,
) -> None:
    """Write the migration file of a checkout that joins two heads, as two branches leave them."""
    made = migration_files.merge(MergeHeads(message, run.options.dry_run))
    if made.path is None:
        run.notice(f"nothing to merge: {made.down[0]} is the only head")
    else:
        run.tell_dry_run()
    run.show(made)
