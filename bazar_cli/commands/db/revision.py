"""`bazar db revision`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.domain.migration_files import AUTOGENERATE, REVISION, MakeRevision, NewRevision
from bazar_cli.runtime.command import command
from bazar_cli.runtime.run import Run
from bazar_cli.runtime.views.migration_files import NEW
from bazar_cli.services import migration_files


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
        bool, Option("--autogenerate", help="fill it with what the models have and the target has not")
    ] = False,
) -> None:
    """Write the next migration file of a checkout.

    What --autogenerate writes is a draft: it sees tables, columns, indexes and foreign keys of the schema bazar, no
    CHECK, view, function or policy, and takes what was renamed for dropped and added.
    """
    dry_run = run.options.dry_run
    request = MakeRevision(message, dry_run)
    if autogenerate:
        made = run.gate.perform(migration_files.autogenerate, AUTOGENERATE, request, dry_run=dry_run)
    else:
        made = migration_files.revision(request)
    if made.path is None:
        run.notice("nothing differs from the models; no file was written")
    else:
        run.tell_dry_run()
    run.show(made)
