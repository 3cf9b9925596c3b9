"""`bazar db create`."""

from __future__ import annotations

from bazar_cli.domain.db.create_and_drop import CREATE, CreateDatabase, CreatedDatabase
from bazar_cli.services.db import create_and_drop
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.database import CREATED


@command(CREATE, view=CREATED, examples=("bazar db create", "bazar db create --no-input && bazar db migrate"))
def run(run: Run[CreatedDatabase]) -> None:
    """Create the database of the target; do nothing if it exists.

    It connects to the database postgres, or template1, of the same server.
    """
    made = run.perform(create_and_drop.create, CreateDatabase())
    if not made.created:
        run.notice(f"{made.database} exists already")
    run.show(made)
