"""`bazar db drop`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.domain.db.create_and_drop import DROP, DropDatabase, DroppedDatabase
from bazar_cli.services.db import create_and_drop
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.database import DROPPED


@command(DROP, view=DROPPED, examples=("bazar db drop --confirm bazar_test", "bazar db drop --dry-run"))
def run(
    run: Run[DroppedDatabase],
    confirm: Annotated[
        str | None, Option("--confirm", help="the name of the database, typed again", metavar="NAME")
    ] = None,
) -> None:
    """Drop the database with everything in it.

    The audit log and the data of others are lost; identities at Supabase are kept. A protected database is refused,
    with all options, and so is a database with open connections.
    """
    run.show(run.perform(create_and_drop.drop, DropDatabase(confirm)))
