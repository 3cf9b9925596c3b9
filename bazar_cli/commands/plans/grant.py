"""`bazar plans grant`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.entities import Plan
from bazar_cli.domain.plans import GRANT, EditedPlan, EditPlan
from bazar_cli.services.plans import changes
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.plans import EDITED


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
    """Add a permission to a plan, and so to all users on it."""
    edited = run.perform(changes.grant_permission, EditPlan(plan, permission))
    if not edited.changed:
        run.notice(f"{plan} allows {permission} already; nothing was changed")
    run.show(edited)
