"""`bazar local status`."""

from __future__ import annotations

from bazar_cli.devstack import stack
from bazar_cli.domain.local import STATUS
from bazar_cli.services.config import data_folder
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views import local as views


@command(STATUS, view=views.STATUS, examples=("bazar local status", "bazar local status -o json"))
def run(run: Run[views.Part]) -> None:
    """Show which parts of the stack run, their addresses and their logs."""
    run.show_all(tuple(stack.status(data_folder(run.environ)).components))
