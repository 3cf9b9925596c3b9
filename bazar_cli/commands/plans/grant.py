"""`bazar plans grant`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from bazar_cli.domain.permissions import Permission, Plan
from bazar_cli.domain.plans import GRANT, EditedPlan, EditPlan
from bazar_cli.runtime.command import command
from bazar_cli.runtime.run import Run
from bazar_cli.runtime.views.plans import EDITED
from bazar_cli.services import plan_changes


@command(
    GRANT,
    view=EDITED,
    examples=("bazar plans grant plus users:create", "bazar plans grant free files:execute --dry-run"),
)
def run(
    run: Run[EditedPlan],
    plan: Annotated[Plan, Argument(help="free, plus or premium")],
    permission: Annotated[Permission, Argument(help="such as files:execute", metavar="PERMISSION")],
) -> None:
    """Add a permission to a plan, for everybody on it."""
    edited = run.perform(plan_changes.grant_permission, EditPlan(plan, permission))
    if not edited.changed:
        run.notice(f"{plan} allows {permission} already; nothing was changed")
    run.show(edited)
