"""`bazar diff`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from typer import Option

from bazar_cli.domain.declared.changes import Applied
from bazar_cli.domain.declared.state import DIFF
from bazar_cli.domain.errors import ExitCode, UsageError
from bazar_cli.domain.texts import Verbatim
from bazar_cli.services.apply import declared
from bazar_cli.terminal.command import command
from bazar_cli.terminal.declared_options import Removing, StateFile, wanted_state
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.run_output import current_folder, refuse_input_as_output
from bazar_cli.terminal.views.declared import APPLIED


@command(
    DIFF, view=APPLIED, examples=("bazar diff -f state.yaml", "bazar diff -f state.yaml --out plan.json --overwrite")
)
def run(
    run: Run[Applied],
    file: StateFile = None,
    out: Annotated[
        Verbatim | None, Option("--out", help="write the changes to this new file, for `bazar apply`", metavar="PLAN")
    ] = None,
    overwrite: Annotated[bool, Option("--overwrite", help="replace PLAN if it exists")] = False,
    *,
    removing: Removing,
) -> int:
    """Show the changes that lead to the organizations, users and plans of a file.

    The file is YAML or JSON. A key that it does not have is not compared. Members whom the file does not name are
    shown, and are a change only with --prune. Exit code 9 means that there are changes.
    """
    wanted = wanted_state(run, file, removing)
    if out == "":
        raise UsageError("usage.invalid_value", "--out is empty", hint="name a new file")
    if out is not None and file is not None and file != "-":
        refuse_input_as_output(file, out, "--out")
    if out is None:
        found = declared.diff(run.gate, wanted)
    else:
        found = declared.save_plan(run.gate, wanted, current_folder() / out, out, overwrite=overwrite)
        found = replace(found, plan_file=str(out))
    run.show(found)
    return ExitCode.FINDING if found.results else ExitCode.DONE
