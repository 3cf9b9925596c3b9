"""`bazar users delete`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.entities import User
from bazar_cli.domain.users.changes import DELETE, DeleteUser
from bazar_cli.services.users import delete
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.users import USER


@command(
    DELETE,
    view=USER,
    examples=(
        "bazar users delete ada@example.com --confirm ada@example.com",
        "bazar users delete ada@example.com --dry-run",
    ),
)
def run(
    run: Run[User],
    user: Annotated[str, Argument(help="id or email")],
    confirm: Annotated[str | None, Option("--confirm", help="the user's email, typed again", metavar="EMAIL")] = None,
) -> None:
    """Delete a user from both systems and show the deleted user.

    Run an interrupted command again to finish it.
    """
    run.show(run.perform(delete.delete, DeleteUser(user, confirm)))
