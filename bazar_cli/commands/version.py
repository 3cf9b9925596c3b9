"""`bazar version`, which is also `bazar --version` with options."""

from __future__ import annotations

from bazar_cli.domain.cli import VERSION, Installation
from bazar_cli.services.installation import installation
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.installation import INSTALLATION


@command(VERSION, view=INSTALLATION, examples=("bazar version", "bazar version -o json"))
def run(run: Run[Installation]) -> None:
    """Show the versions of bazar, Python and libraries, and how bazar is installed.

    Add the output to a report of a bug. `bazar --version` prints the version alone, and `bazar --version -o json` is
    the same as `bazar version -o json`.
    """
    run.show(installation())
