"""`bazar orgs export`."""

from __future__ import annotations

from bazar_cli.domain.entities import Organization
from bazar_cli.domain.orgs.organizations import EXPORT
from bazar_cli.services.orgs import organizations
from bazar_cli.terminal.command import command
from bazar_cli.terminal.options import ExportFile, Overwrite
from bazar_cli.terminal.progress import ProgressMode, ProgressOption
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.orgs import ORGANIZATION


@command(
    EXPORT,
    view=ORGANIZATION,
    streams=True,
    examples=("bazar orgs export organizations.jsonl", "bazar orgs export -o csv --fields slug,name,members"),
)
def run(
    run: Run[Organization],
    file: ExportFile = None,
    overwrite: Overwrite = False,
    progress: ProgressOption = ProgressMode.AUTO,
) -> None:
    """Write all organizations that you can see, oldest first.

    The format is that of -o (csv, json, jsonl, yaml or ids), else that of the name of FILE, else JSON Lines.
    """
    run.export(organizations.export, run.wanted_rows(file), file, overwrite=overwrite, progress=progress)
