"""`bazar db locks`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.domain.db.locks import LOCKS, LockSession, ShowLocks
from bazar_cli.services.db import locks
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.database import SESSION


@command(LOCKS, view=SESSION, examples=("bazar db locks", "bazar db locks --terminate 4711 --yes"))
def run(
    run: Run[LockSession],
    terminate: Annotated[int | None, Option("--terminate", help="end this session of the list", metavar="PID")] = None,
) -> None:
    """Show the sessions that hold or wait for the migration lock or bazar's tables.

    --terminate shows what it ends and asks first; --yes answers.
    """
    if terminate is None:
        run.show_all(run.perform(locks.show, ShowLocks()))
        return
    run.show(run.perform(locks.terminate, ShowLocks(terminate)))
