"""`bazar apply`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.declared.changes import Applied, Outcome
from bazar_cli.domain.declared.state import APPLY
from bazar_cli.domain.errors import ExitCode, UsageError
from bazar_cli.domain.texts import Verbatim, counted
from bazar_cli.services.apply import declared
from bazar_cli.terminal.command import command
from bazar_cli.terminal.declared_options import Removing, StateFile, wanted_state
from bazar_cli.terminal.progress import ProgressMode, ProgressOption, shown
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.run_output import current_folder
from bazar_cli.terminal.views.declared import APPLIED, lines_of


@command(
    APPLY,
    view=APPLIED,
    examples=(
        "bazar apply -f state.yaml --dry-run",
        "bazar apply -f state.yaml --prune --max-delete 10% --yes",
        "bazar apply plan.json --yes",
    ),
)
def run(
    run: Run[Applied],
    plan: Annotated[Verbatim | None, Argument(help="plan that `bazar diff --out` wrote")] = None,
    file: StateFile = None,
    *,
    removing: Removing,
    progress: ProgressOption = ProgressMode.AUTO,
) -> int:
    """Make organizations, users and plans as a file declares them; a second run changes nothing.

    It shows the changes and asks first; --yes answers. Each change needs the permission of its own command: if you may
    not make one of them, nothing is written. Missing users are created without a password. Nothing is deleted but
    members whom the file does not name, with --prune. A plan is refused if a row that it relies on has changed since.
    Exit code 8 means that some changes failed, in a dry run that some would fail.
    """
    if plan is None:
        wanted = wanted_state(run, file, removing)
    elif file is not None or removing.prune or removing.max_delete is not None:
        raise UsageError(
            "usage.invalid_value",
            "PLAN and --file, --prune or --max-delete exclude each other: a plan has its own file and limits",
            hint="leave one of them out",
        )
    else:
        wanted = declared.wanted_plan(current_folder() / plan, plan)
    dry_run = run.options.dry_run
    prepared = declared.prepare(run.gate, wanted, dry_run=dry_run)
    planned = prepared.planned(dry_run=dry_run)
    if planned.results and not dry_run:
        run.notice_diff(lines_of(planned))
        again = command_line(
            "apply",
            *([] if plan is None else [plan]),
            file=file,
            prune=removing.prune,
            max_delete=removing.max_delete,
            yes=True,
        )
        run.agree(prepared.impact(again))
    if dry_run:
        run.notice_dry_run()
        run.show(planned)
        return ExitCode.PARTIAL if planned.has_failed else ExitCode.DONE

    def show(done: Applied) -> None:
        run.show(done)
        left = done.count(Outcome.NOT_BEGUN)
        if left:
            run.notice(f"{counted(left, 'change')} of {len(done.results)} not begun: run the same command again")

    # Also what a run had made that a signal or an error ended, when the bar of the progress has gone.
    shown_at_end: list[Applied] = []
    try:
        with shown(progress, run.environ, quiet=run.options.quiet) as report:
            done = declared.carry_out(run.gate, prepared, report, shown_at_end.append)
    finally:
        for one in shown_at_end:
            show(one)
    return ExitCode.PARTIAL if done.has_failed else ExitCode.DONE
