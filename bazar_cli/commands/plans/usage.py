"""`bazar plans usage`."""

from __future__ import annotations

from bazar_cli.domain.plans import USAGE, PlanUsage
from bazar_cli.services.plans import read
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views import plans as views


@command(USAGE, view=views.USAGE, examples=("bazar plans usage", "bazar plans usage -o csv"))
def run(run: Run[PlanUsage]) -> None:
    """Count the users that you can see on each plan."""
    run.show_all(run.perform(read.usage, None))
