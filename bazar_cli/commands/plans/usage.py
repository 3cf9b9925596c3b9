"""`bazar plans usage`."""

from __future__ import annotations

from bazar_cli.domain.plans import USAGE, PlanUsage
from bazar_cli.runtime.command import command
from bazar_cli.runtime.run import Run
from bazar_cli.runtime.views import plans as views
from bazar_cli.services import plans


@command(USAGE, view=views.USAGE, examples=("bazar plans usage", "bazar plans usage -o csv"))
def run(run: Run[PlanUsage]) -> None:
    """Count the users on each plan: all of them, or those that you can see."""
    run.show_all(run.perform(plans.usage, None))
