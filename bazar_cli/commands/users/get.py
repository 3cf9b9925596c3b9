"""`bazar users get`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from bazar_cli.domain.entities import User
from bazar_cli.domain.users.users import GET, GetUser
from bazar_cli.services.users import read
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.users import USER


@command(GET, view=USER, examples=("bazar users get ada@example.com", "bazar users get ada@example.com -o json"))
def run(run: Run[User], user: Annotated[str, Argument(help="id or email")]) -> None:
    """Show one user, by id or email."""
    run.show(run.perform(read.get, GetUser(user)))
