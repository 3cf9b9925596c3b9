"""`bazar users sessions list`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from bazar_cli.domain.users.sessions import LIST, OfUser, UserSession
from bazar_cli.services.users import sessions
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.user_sessions import SESSION


@command(
    LIST,
    view=SESSION,
    examples=(
        "bazar users sessions list ada@example.com",
        "bazar users sessions list ada@example.com -o csv --fields created_at,ip,user_agent",
    ),
)
def run(run: Run[UserSession], user: Annotated[str, Argument(help="id or email")]) -> None:
    """List the sessions of a user, newest first.

    The database must be that of the Supabase project, and its user must be allowed to read auth.sessions.
    """
    run.show_all(run.perform(sessions.sessions, OfUser(user)))
