"""`bazar local reset`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.devstack import stack
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.config import LOCAL_PROFILE
from bazar_cli.domain.consent import Impact, Word, check_consent
from bazar_cli.domain.local import RESET
from bazar_cli.services.config import data_folder
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.local import STOPPED, Stopped


@command(RESET, view=STOPPED, examples=("bazar local reset --confirm local", "bazar local reset"))
def run(
    run: Run[Stopped],
    confirm: Annotated[str | None, Option("--confirm", help="the word local, typed again", metavar="local")] = None,
) -> None:
    """Stop the stack and delete its data; a database of --database-url is not changed."""
    folder = data_folder(run.environ)
    impact = Impact(
        text=f"this deletes the embedded stack's data in {folder}",
        question=f"Type {LOCAL_PROFILE} to do it",
        command=command_line("local reset", confirm=LOCAL_PROFILE),
        word=Word(LOCAL_PROFILE, f"the word {LOCAL_PROFILE}", "local.confirm_mismatch"),
    )
    check_consent(impact, run.agree(impact) if confirm is None else confirm)
    report = stack.reset(folder, run.notice)
    run.show(Stopped(report.stopped.postgres, report.stopped.auth, report.data_deleted))
