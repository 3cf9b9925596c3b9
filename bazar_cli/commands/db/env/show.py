"""`bazar db env`."""

from __future__ import annotations

from bazar_cli.domain.db.marker import SHOW_MARKER, DatabaseMarker, ShowMarker
from bazar_cli.services.db import marker
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.database import MARKER


@command(SHOW_MARKER, view=MARKER, examples=("bazar db env show", "bazar db env show -o json"))
def run(run: Run[DatabaseMarker]) -> None:
    """Show the marker of the database: its environment, and whether it is protected.

    `bazar db env` does the same.
    """
    run.show(run.perform(marker.show, ShowMarker()))
