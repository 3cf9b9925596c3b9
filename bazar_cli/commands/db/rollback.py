"""`bazar db rollback`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.domain.consent import Impact
from bazar_cli.domain.db.migrations import ROLLBACK, Rollback, RolledBack
from bazar_cli.services.db import rollback
from bazar_cli.terminal.command import command
from bazar_cli.terminal.options import StatementTimeout
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.db import ROLLED_BACK, summary


@command(
    ROLLBACK,
    view=ROLLED_BACK,
    examples=("bazar db rollback --dry-run", "bazar db rollback --to 0003 --yes -o json"),
)
def run(
    run: Run[RolledBack],
    steps: Annotated[int | None, Option("--steps", help="take back so many revisions (default 1)", metavar="N")] = None,
    to: Annotated[str | None, Option("--to", help="take back all after this one", metavar="REVISION")] = None,
    statement_timeout: StatementTimeout = None,
) -> None:
    """Take applied revisions back, newest first, each in its own transaction.

    What goes is said first, and asked; --yes answers. A protected database refuses, whatever the options. The first
    revision stays.
    """

    def ask(agreed: Impact | None) -> Rollback:
        return Rollback(steps, to, agreed, statement_timeout)

    done = run.perform_agreed(lambda s, grant, asked: rollback.rollback(s, grant, asked, run.notice), ask)
    if done.would_revert:
        run.notice(rollback.consequences(done, again=False))
    elif not done.reverted:
        run.notice("nothing is to be rolled back")
    run.summarize(summary(done))
    run.show(done)
