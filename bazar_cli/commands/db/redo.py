"""`bazar db redo`."""

from __future__ import annotations

from bazar_cli.domain.db.migrations import REDO, Redo, RolledBack
from bazar_cli.services.db import rollback
from bazar_cli.terminal.command import command
from bazar_cli.terminal.options import StatementTimeout
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.db import ROLLED_BACK, summary


@command(REDO, view=ROLLED_BACK, examples=("bazar db redo", "bazar db redo --yes -o json"))
def run(run: Run[RolledBack], statement_timeout: StatementTimeout = None) -> None:
    """Roll back the newest revision and apply it again, as after an edit of its file.

    It shows what is lost and asks first; --yes answers. --dry-run shows the SQL of both directions. A protected
    database is always refused.
    """

    request = Redo(statement_timeout=statement_timeout)
    done = run.perform(lambda backends, grant, asked: rollback.redo(backends, grant, asked, run.notice), request)
    if done.would_revert:
        run.notice(rollback.consequences(done, again=True))
    elif not done.reverted:
        run.notice("nothing is applied")
    run.summarize(summary(done))
    run.show(done)
