"""`bazar local mail`."""

from __future__ import annotations

from bazar_cli.devstack import stack
from bazar_cli.domain.local import MAIL
from bazar_cli.services.config import data_folder
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views import local as views


@command(MAIL, view=views.MAIL, examples=("bazar local mail", "bazar local mail -o json --fields recipient,link"))
def run(run: Run[views.Mail]) -> None:
    """Show the mails that the Auth service kept instead of sending them."""
    run.show_all(tuple(stack.mails(data_folder(run.environ))))
