"""`bazar plans revoke`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.entities import Plan
from bazar_cli.domain.plans import REVOKE, EditedPlan, EditPlan
from bazar_cli.services.plans import changes
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.plans import EDITED


@command(
    REVOKE,
    view=EDITED,
    examples=("bazar plans revoke plus files:execute", "bazar plans revoke plus files:execute --yes -o json"),
)
def run(
    run: Run[EditedPlan],
    plan: Annotated[Plan, Argument(help="free, plus or premium")],
    permission: Annotated[Permission, Argument(help="such as files:execute", metavar="PERMISSION")],
) -> None:
    """Remove a permission from a plan, and so from all users on it.

    It shows how many users lose it and asks first; --yes answers. Premium keeps the permissions that superusers
    need.
    """

    edited = run.perform(changes.revoke_permission, EditPlan(plan, permission))
    if not edited.changed:
        run.notice(f"{plan} does not allow {permission}; nothing was changed")
    if run.options.dry_run and edited.impact is not None:
        run.notice(edited.impact.text)
    run.show(edited)
