"""`bazar db status`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.domain.db.migrations import STATUS, GetStatus, MigrationStatus, disagreement
from bazar_cli.domain.errors import ExitCode
from bazar_cli.services.db import status
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views import db as views


@command(STATUS, view=views.STATUS, examples=("bazar db status", "bazar db status --check --quiet"))
def run(
    run: Run[MigrationStatus],
    check: Annotated[bool, Option("--check", help="exit code 9 if revisions are pending, 6 if they disagree")] = False,
) -> int:
    """Show the revision of the database and the pending revisions."""
    found = run.perform(status.status, GetStatus())
    run.show(found)
    if not found.place.frees_locks_of_the_dead:
        run.notice("before Postgres 14 a killed migration holds its lock until its statement ends")
    if found.read_only is not None:
        run.warn(
            f"the database takes no writes: {found.read_only.text};"
            f" {found.read_only.remedy(run.target.to_migrate.database_variable)}"
        )
    wrong = disagreement(found)
    if wrong is not None:
        if check:
            raise wrong
        run.warn(f"{wrong.message}; {wrong.hint}")
    if not check or not found.pending:
        return ExitCode.DONE
    run.warn(f"pending: {', '.join(r.id for r in found.pending)}; run `bazar db migrate`")
    return ExitCode.FINDING
