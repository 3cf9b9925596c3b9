"""`bazar db locks`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.domain.consent import Impact
from bazar_cli.domain.db.locks import LOCKS, LockSession, ShowLocks
from bazar_cli.services.db import locks
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.database import SESSION


@command(LOCKS, view=SESSION, examples=("bazar db locks", "bazar db locks --terminate 4711 --yes"))
def run(
    run: Run[LockSession],
    terminate: Annotated[
        int | None, Option("--terminate", help="end this session, one of those listed", metavar="PID")
    ] = None,
) -> None:
    """Show who holds the migration lock and bazar's tables, and who waits for whom.

    --terminate says first what ends, and asks; --yes answers.
    """
    if terminate is None:
        run.show_all(run.perform(locks.show, ShowLocks()))
        return

    def ask(agreed: Impact | None) -> ShowLocks:
        return ShowLocks(terminate, agreed)

    run.show(run.perform_agreed(locks.terminate, ask))
