"""`bazar audit export`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.audit import EXPORT, AuditEvent
from bazar_cli.domain.texts import Verbatim
from bazar_cli.services.audit import read
from bazar_cli.terminal.command import command
from bazar_cli.terminal.event_filters import EventOptions
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.audit import EVENT


@command(
    EXPORT,
    view=EVENT,
    examples=(
        "bazar audit export events.jsonl --since 2026-01-01",
        "bazar audit export --action users -o csv | gzip >users.csv.gz",
    ),
)
def run(
    run: Run[AuditEvent],
    which: EventOptions,
    file: Annotated[Verbatim | None, Argument(help="new file, readable only by you (default: standard output)")] = None,
    overwrite: Annotated[bool, Option("--overwrite", help="replace FILE if it exists")] = False,
) -> None:
    """Write all events that you can see, oldest first.

    The format is JSON Lines, or that of -o: csv, json, yaml or ids.
    """
    filters = which.filters
    grant = run.authorize(filters)
    run.export(read.export(run.backends, grant, filters), file, overwrite=overwrite)
