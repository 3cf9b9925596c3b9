"""`bazar users imports undo`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.errors import ExitCode
from bazar_cli.domain.imports.imports import UNDO, UndoneImport, UndoRun
from bazar_cli.domain.texts import counted
from bazar_cli.services.imports import undo
from bazar_cli.services.interrupts import between_steps
from bazar_cli.terminal.command import command
from bazar_cli.terminal.progress import ProgressMode, ProgressOption, shown
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.imports import UNDONE

_RUN = "0193b3c4-0000-7000-8000-00000000000a"


@command(
    UNDO,
    view=UNDONE,
    examples=(
        f"bazar users imports undo {_RUN} --dry-run",
        f"bazar users imports undo {_RUN} --confirm {_RUN}",
    ),
)
def run(
    run: Run[UndoneImport],
    run_id: Annotated[str, Argument(metavar="RUN", help="id of an import")],
    confirm: Annotated[str | None, Option("--confirm", help="the id of the import, typed again", metavar="RUN")] = None,
    progress: ProgressOption = ProgressMode.AUTO,
) -> int:
    """Delete the users that an import created from both systems, and say whom it keeps and why.

    It keeps everyone who was touched since: who signed in, whom any command changed, also back, and whose identity
    Supabase changed more than 10 seconds after it created it. Users that the import updated remain as they are.

    An import that is open is ended first. Its rows that were not applied never will be, and their hashes are erased.
    The same file can then be imported again.

    An interrupted command continues when it is run again. Exit code 8 means that some users were kept.
    """
    begun = run.perform(undo.begin, UndoRun(run_id, confirm))
    with between_steps() as is_ended, shown(progress, run.environ, quiet=run.options.quiet) as report:
        done = undo.undo(run.gate, begun, report, is_ended, dry_run=run.options.dry_run)
        run.show(done)
        if done.open:
            run.notice(f"{counted(done.open, 'user')} left: the same command continues")
        return ExitCode.PARTIAL if done.kept else ExitCode.DONE
