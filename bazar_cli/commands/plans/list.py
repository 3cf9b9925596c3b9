"""`bazar plans list`."""

from __future__ import annotations

from bazar_cli.domain.plans import LIST, PlanDetails
from bazar_cli.services.plans import read
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.plans import PLAN_SUMMARY


@command(LIST, view=PLAN_SUMMARY, examples=("bazar plans list", "bazar plans list -o json"))
def run(run: Run[PlanDetails]) -> None:
    """List the plans, smallest first."""
    run.show_all(run.perform(read.list_plans, None))
