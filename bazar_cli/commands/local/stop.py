"""`bazar local stop`."""

from __future__ import annotations

from bazar_cli.devstack import stack
from bazar_cli.domain.local import STOP
from bazar_cli.services.config import data_folder
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.local import STOPPED, Stopped


@command(STOP, view=STOPPED, examples=("bazar local stop", "bazar local stop --quiet"))
def run(run: Run[Stopped]) -> None:
    """Stop the Auth service and the embedded Postgres; the data are kept."""
    report = stack.stop(data_folder(run.environ))
    run.show(Stopped(report.postgres, report.auth))
