"""`bazar audit export`."""

from __future__ import annotations

from bazar_cli.domain.audit import EXPORT, AuditEvent
from bazar_cli.services.audit import read
from bazar_cli.terminal.command import command
from bazar_cli.terminal.event_filters import EventOptions
from bazar_cli.terminal.options import ExportFile, Overwrite
from bazar_cli.terminal.progress import ProgressMode, ProgressOption
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.audit import EVENT


@command(
    EXPORT,
    view=EVENT,
    streams=True,
    examples=(
        "bazar audit export events.jsonl --since 2026-01-01",
        "bazar audit export --action users -o csv | gzip >users.csv.gz",
    ),
)
def run(
    run: Run[AuditEvent],
    which: EventOptions,
    file: ExportFile = None,
    overwrite: Overwrite = False,
    progress: ProgressOption = ProgressMode.AUTO,
) -> None:
    """Write all events that you can see, oldest first.

    The format is that of -o (csv, json, jsonl, yaml or ids), else that of the name of FILE, else JSON Lines.
    """
    run.export(read.export, which.filters, file, overwrite=overwrite, progress=progress)
