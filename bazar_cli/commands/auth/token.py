"""`bazar auth token`."""

from __future__ import annotations

from bazar_cli.domain.auth import TOKEN, AccessToken
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views import auth as views


@command(TOKEN, view=views.TOKEN, examples=("export BAZAR_TOKEN=$(bazar auth token)", "bazar auth token -o json"))
def run(run: Run[AccessToken]) -> None:
    """Print the access token, so that a script signs in once for many commands."""
    run.show(run.account.token())
