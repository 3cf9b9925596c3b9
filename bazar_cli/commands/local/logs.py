"""`bazar local logs`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bazar_cli.devstack import stack
from bazar_cli.domain.local import LOGS
from bazar_cli.services.config import data_folder
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.local import LINE

_LINES = 100


@command(LOGS, view=LINE, examples=("bazar local logs", "bazar local logs auth --lines 20 --follow"))
def run(
    run: Run[str],
    component: Annotated[str | None, Argument(help="postgres or auth (default: both)")] = None,
    lines: Annotated[int, Option("--lines", help="last lines of each log (default 100)", metavar="N")] = _LINES,
    follow: Annotated[bool, Option("--follow", "-f", help="show new lines until Ctrl-C")] = False,
) -> None:
    """Show the stack's logs."""
    run.show_stream(stack.logs(data_folder(run.environ), component, lines, follow=follow))
