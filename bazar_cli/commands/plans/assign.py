"""`bazar plans assign`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from bazar_cli.domain.entities import Plan
from bazar_cli.domain.plans import ASSIGN, AssignedPlan, AssignPlan
from bazar_cli.services.plans import changes
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.plans import ASSIGNED


@command(
    ASSIGN,
    view=ASSIGNED,
    examples=(
        "bazar plans assign ada@example.com premium",
        "bazar plans assign ada@example.com free --dry-run",
        "bazar plans assign ada@example.com free --yes",
    ),
)
def run(
    run: Run[AssignedPlan],
    user: Annotated[str, Argument(help="id or email")],
    plan: Annotated[Plan, Argument(help="free, plus or premium")],
) -> None:
    """Change the plan of a user; the result names lost and gained permissions.

    A change that takes permissions away, or moves a superuser off Premium, shows this and asks first; --yes
    answers.
    """

    assigned = run.perform(changes.assign, AssignPlan(user, plan))
    if not assigned.changed:
        run.notice(f"{assigned.user.email} is on {plan} already; nothing was changed")
    if run.options.dry_run and assigned.impact is not None:
        run.notice(assigned.impact.text)
    run.show(assigned)
