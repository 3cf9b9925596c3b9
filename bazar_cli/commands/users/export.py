"""`bazar users export`."""

from __future__ import annotations

from bazar_cli.domain.entities import User
from bazar_cli.domain.users.users import EXPORT
from bazar_cli.services.users import read
from bazar_cli.terminal.command import command
from bazar_cli.terminal.options import ExportFile, Overwrite
from bazar_cli.terminal.progress import ProgressMode, ProgressOption
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.users import USER


@command(
    EXPORT,
    view=USER,
    streams=True,
    examples=("bazar users export users.jsonl", "bazar users export -o csv | gzip >users.csv.gz"),
)
def run(
    run: Run[User], file: ExportFile = None, overwrite: Overwrite = False, progress: ProgressOption = ProgressMode.AUTO
) -> None:
    """Write all users that you can see, oldest first.

    The format is that of -o (csv, json, jsonl, yaml or ids), else that of the name of FILE, else JSON Lines.
    Passwords are never part of it.
    """
    run.export(read.export, run.wanted_rows(file), file, overwrite=overwrite, progress=progress)
