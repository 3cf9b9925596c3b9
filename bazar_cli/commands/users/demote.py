"""`bazar users demote`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.entities import User
from bazar_cli.domain.users.changes import DEMOTE, ChangeSuperuser
from bazar_cli.services.users import superusers
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.users import USER


@command(
    DEMOTE,
    view=USER,
    examples=(
        "bazar users demote ada@example.com --confirm ada@example.com",
        "bazar users demote ada@example.com --dry-run",
    ),
)
def run(
    run: Run[User],
    user: Annotated[str, Argument(help="id or email")],
    confirm: Annotated[str | None, Option("--confirm", help="the user's email, typed again", metavar="EMAIL")] = None,
) -> None:
    """Remove the superuser flag from a user, or from yourself.

    The last active superuser on Premium keeps it.
    """
    demoted = run.perform(superusers.demote, ChangeSuperuser(user, confirm))
    if not demoted.changed:
        run.notice(f"{demoted.user.email} is not a superuser; nothing was changed")
    run.show(demoted.user)
