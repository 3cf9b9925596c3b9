"""`bazar db revision`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.domain.db.revisions import AUTOGENERATE, REVISION, MakeRevision, NewRevision
from bazar_cli.services.db import revisions
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.migration_files import NEW


@command(
    REVISION,
    view=NEW,
    examples=('bazar db revision -m "add invoices"', 'bazar db revision -m "add invoices" --autogenerate'),
    parts={"--autogenerate": AUTOGENERATE},
)
def run(
    run: Run[NewRevision],
    message: Annotated[str, Option("--message", "-m", help="what it changes, in one line", metavar="TEXT")],
    autogenerate: Annotated[
        bool, Option("--autogenerate", help="fill it with the differences between models and target")
    ] = False,
) -> None:
    """Write the next migration file of a checkout.

    --autogenerate writes a draft. It compares tables, columns, indexes and foreign keys of the schema bazar, but no
    CHECK, view, function or policy. It takes a rename for a drop and an addition.
    """
    dry_run = run.options.dry_run
    request = MakeRevision(message, dry_run)
    if autogenerate:
        made = run.gate.perform(revisions.autogenerate, AUTOGENERATE, request, dry_run=dry_run)
    else:
        made = revisions.revision(request)
    if made.path is None:
        run.notice("the target matches the models; no file was written")
    else:
        run.notice_dry_run()
    run.show(made)
