"""`bazar local reset`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.devstack import stack
from bazar_cli.domain.config import LOCAL_PROFILE
from bazar_cli.domain.errors import Refused
from bazar_cli.domain.local import RESET
from bazar_cli.services.config import data_folder
from bazar_cli.services.consent import as_detail, not_it
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
    typed = run.prompter.name(confirm, f"Type {LOCAL_PROFILE} to delete the data in {folder}")
    if typed != LOCAL_PROFILE:
        raise Refused(
            "local.confirm_mismatch",
            f"this deletes the embedded stack's data in {folder}, and needs the word local as confirmation"
            f"{not_it(typed)}",
            hint="bazar local reset --confirm local",
            details=as_detail(typed),
        )
    report = stack.reset(folder, run.notice)
    run.show(Stopped(report.stopped.postgres, report.stopped.auth, report.data_deleted))
