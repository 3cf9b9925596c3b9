"""`bazar plans show`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from bazar_cli.domain.permissions import Plan
from bazar_cli.domain.plans import SHOW, PlanDetails, ShowPlan
from bazar_cli.runtime.command import command
from bazar_cli.runtime.run import Run
from bazar_cli.runtime.views.plans import PLAN
from bazar_cli.services import plans


@command(SHOW, view=PLAN, examples=("bazar plans show premium", "bazar plans show free -o json"))
def run(run: Run[PlanDetails], plan: Annotated[Plan, Argument(help="free, plus or premium")]) -> None:
    """Show one plan and the permissions that it has."""
    run.show(run.perform(plans.show, ShowPlan(plan)))
