"""`bazar users get`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from bazar_cli.domain.users import GET, GetUser, User
from bazar_cli.runtime.command import command
from bazar_cli.runtime.run import Run
from bazar_cli.runtime.views.users import USER
from bazar_cli.services import users


@command(GET, view=USER, examples=("bazar users get ada@example.com", "bazar users get ada@example.com -o json"))
def run(run: Run[User], user: Annotated[str, Argument(help="id or email")]) -> None:
    """Show one user, by id or email."""
    run.show(run.perform(users.get, GetUser(user)))
