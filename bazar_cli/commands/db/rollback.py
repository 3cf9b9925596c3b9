"""`bazar db rollback`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

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
    steps: Annotated[int | None, Option("--steps", help="revisions to roll back (default 1)", metavar="N")] = None,
    to: Annotated[str | None, Option("--to", help="roll back all revisions after this one", metavar="REVISION")] = None,
    statement_timeout: StatementTimeout = None,
) -> None:
    """Roll back applied revisions, newest first, each in its own transaction.

    It shows what is lost and asks first; --yes answers. A protected database is always refused. The
    first revision cannot be rolled back.
    """

    request = Rollback(steps, to, statement_timeout=statement_timeout)
    done = run.perform(lambda backends, grant, asked: rollback.rollback(backends, grant, asked, run.notice), request)
    if done.would_revert:
        run.notice(rollback.consequences(done, again=False))
    elif not done.reverted:
        run.notice("there is nothing to roll back")
    run.summarize(summary(done))
    run.show(done)
