"""`bazar db env`."""

from __future__ import annotations

from bazar_cli.domain.database import SHOW_MARKER, DatabaseMarker, ShowMarker
from bazar_cli.runtime.command import command
from bazar_cli.runtime.run import Run
from bazar_cli.runtime.views.database import MARKER
from bazar_cli.services import database


@command(SHOW_MARKER, view=MARKER, examples=("bazar db env show", "bazar db env show -o json"))
def run(run: Run[DatabaseMarker]) -> None:
    """Show the marker: what the database says of itself, which destructive commands obey.

    `bazar db env` does the same.
    """
    run.show(run.perform(database.marker, ShowMarker()))
