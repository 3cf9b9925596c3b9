"""`bazar audit list`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.domain.audit import LIST, AuditEvent, ListEvents
from bazar_cli.domain.page import DEFAULT_LIMIT
from bazar_cli.services.audit import read
from bazar_cli.terminal.command import command
from bazar_cli.terminal.event_filters import EventOptions
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.audit import EVENT


@command(
    LIST,
    view=EVENT,
    examples=(
        "bazar audit list --org acme --since 2026-01-01",
        "bazar audit list --target ada@example.com --action users -o json",
    ),
)
def run(
    run: Run[AuditEvent],
    which: EventOptions,
    limit: Annotated[
        int, Option("--limit", help="events per page, 1 to 1000 (default 50)", metavar="N")
    ] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Option("--cursor", help="continue after an earlier page", metavar="CURSOR")] = None,
    all_pages: Annotated[bool, Option("--all", help="show all pages")] = False,
) -> None:
    """List the events that you can see, newest first."""
    run.show_pages(read.list_page, ListEvents(which.filters, limit, cursor), every=all_pages)
