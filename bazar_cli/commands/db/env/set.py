"""`bazar db env set`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.db.marker import SET_MARKER, DatabaseMarker, SetMarker
from bazar_cli.domain.errors import UsageError
from bazar_cli.services.db import marker
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.database import MARKER


@command(
    SET_MARKER,
    view=MARKER,
    examples=(
        "bazar db env set staging --unprotected --confirm bazar_staging",
        "bazar db env set production --protected --confirm bazar",
    ),
)
def run(
    run: Run[DatabaseMarker],
    name: Annotated[str, Argument(help="name of the environment, such as staging")],
    protected: Annotated[bool, Option("--protected", help="refuse destructive commands")] = False,
    unprotected: Annotated[bool, Option("--unprotected", help="allow destructive commands")] = False,
    confirm: Annotated[
        str | None, Option("--confirm", help="the name of the database, typed again", metavar="DB")
    ] = None,
) -> None:
    """Set the environment of the database, and whether it is protected.

    Give --protected or --unprotected. A protected database refuses destructive commands. The marker is stored with
    the data: a copy of a protected database is protected.
    """
    if protected and unprotected:
        raise UsageError("usage.invalid", "--protected and --unprotected exclude each other", hint="give one of them")
    if not (protected or unprotected):
        raise UsageError(
            "usage.missing",
            "`bazar db env set` needs --protected or --unprotected",
            hint="`bazar db env set --help` shows the usage",
        )
    run.show(run.perform(marker.change, SetMarker(name, protected, confirm)))
