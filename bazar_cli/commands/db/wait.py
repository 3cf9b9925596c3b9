"""`bazar db wait`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.domain.db.migrations import WAIT, Wait, Waited
from bazar_cli.services.db import status
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.db import WAITED


@command(WAIT, view=WAITED, examples=("bazar db wait", "bazar db wait --timeout 120 && bazar db migrate"))
def run(
    run: Run[Waited],
    timeout: Annotated[float, Option("--timeout", help="seconds to wait (default 60)", metavar="S")] = 60.0,
) -> None:
    """Wait until the database accepts connections; exit code 7 if it does not in time.

    An error that waiting cannot solve, such as a wrong password, ends the command at once.
    """
    run.show(status.wait(run.target, Wait(timeout)))
