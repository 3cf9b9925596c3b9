"""`bazar auth refresh`."""

from __future__ import annotations

from bazar_cli.domain.auth import REFRESH, WhoAmI
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.auth import WHO


@command(REFRESH, view=WHO, examples=("bazar auth refresh", "bazar auth refresh -o json --fields expires_at"))
def run(run: Run[WhoAmI]) -> None:
    """Renew the stored session.

    Commands do this themselves a minute before the session expires.
    """
    run.show(run.account.refresh())
