"""`bazar users me`."""

from __future__ import annotations

from bazar_cli.domain.users import ME, User
from bazar_cli.runtime.command import command
from bazar_cli.runtime.run import Run
from bazar_cli.runtime.views.users import USER
from bazar_cli.services import users


@command(ME, view=USER, examples=("bazar users me", "bazar users me -o json --fields email,plan"))
def run(run: Run[User]) -> None:
    """Show yourself: the user that is signed in."""
    run.show(run.perform(users.me, None))
