"""`bazar users imports show`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.imports.imports import SHOW, RowResult, ShowRun, Status
from bazar_cli.domain.page import DEFAULT_LIMIT
from bazar_cli.services.imports import runs
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.imports import ROW


@command(
    SHOW,
    view=ROW,
    examples=(
        "bazar users imports show 0193b3c4-0000-7000-8000-00000000000a --status failed",
        "bazar users imports show 0193b3c4-0000-7000-8000-00000000000a --all -o jsonl",
    ),
)
def run(
    run: Run[RowResult],
    run_id: Annotated[str, Argument(metavar="RUN", help="id of an import")],
    status: Annotated[
        Status | None,
        Option("--status", help="open, created, updated, unchanged, skipped, failed or undone", metavar="STATUS"),
    ] = None,
    limit: Annotated[int, Option("--limit", help="rows per page, 1 to 1000 (default 50)", metavar="N")] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Option("--cursor", help="continue after an earlier page", metavar="CURSOR")] = None,
    all_pages: Annotated[bool, Option("--all", help="show all pages")] = False,
) -> None:
    """Show what became of the rows of an import, by the line of the file."""
    run.show_pages(runs.show_page, ShowRun(run_id, status, limit, cursor), every=all_pages)
