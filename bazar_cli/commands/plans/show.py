"""`bazar plans show`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from bazar_cli.domain.entities import Plan
from bazar_cli.domain.plans import SHOW, PlanDetails, ShowPlan
from bazar_cli.services.plans import read
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.plans import PLAN


@command(SHOW, view=PLAN, examples=("bazar plans show premium", "bazar plans show free -o json"))
def run(run: Run[PlanDetails], plan: Annotated[Plan, Argument(help="free, plus or premium")]) -> None:
    """Show one plan and the permissions that it has."""
    run.show(run.perform(read.show, ShowPlan(plan)))
