"""`bazar users promote`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.entities import Plan, User
from bazar_cli.domain.users.changes import PROMOTE, ChangeSuperuser
from bazar_cli.services.users import superusers
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.users import USER


@command(
    PROMOTE,
    view=USER,
    examples=(
        "bazar users promote ada@example.com --confirm ada@example.com",
        "bazar users promote ada@example.com --dry-run",
    ),
)
def run(
    run: Run[User],
    user: Annotated[str, Argument(help="id or email")],
    confirm: Annotated[str | None, Option("--confirm", help="the user's email, typed again", metavar="EMAIL")] = None,
) -> None:
    """Make a user a superuser.

    A superuser can use the permissions of their plan everywhere. Administration needs Premium.
    """
    promoted = run.perform(superusers.promote, ChangeSuperuser(user, confirm))
    superuser = promoted.user
    if not promoted.changed:
        run.notice(f"{superuser.email} is a superuser already; nothing was changed")
    if superuser.plan is not Plan.PREMIUM:
        move = command_line("plans assign", superuser.email, Plan.PREMIUM)
        plan = superuser.plan.value.capitalize()
        run.notice(f"{superuser.email} is on {plan} and has only its permissions: `{move}` changes that")
    run.show(superuser)
