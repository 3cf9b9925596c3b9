"""`bazar users me`."""

from __future__ import annotations

from bazar_cli.domain.entities import User
from bazar_cli.domain.users.users import ME
from bazar_cli.services.users import read
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.users import USER


@command(ME, view=USER, examples=("bazar users me", "bazar users me -o json --fields email,plan"))
def run(run: Run[User]) -> None:
    """Show the user that is signed in."""
    run.show(run.perform(read.me, None))
