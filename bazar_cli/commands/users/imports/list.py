"""`bazar users imports list`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.domain.imports.imports import LIST, CountedRun, ListRuns
from bazar_cli.domain.page import DEFAULT_LIMIT
from bazar_cli.services.imports import runs
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.imports import RUN


@command(LIST, view=RUN, examples=("bazar users imports list", "bazar users imports list --limit 1 -o json"))
def run(
    run: Run[CountedRun],
    limit: Annotated[
        int, Option("--limit", help="imports per page, 1 to 1000 (default 50)", metavar="N")
    ] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Option("--cursor", help="continue after an earlier page", metavar="CURSOR")] = None,
    all_pages: Annotated[bool, Option("--all", help="show all pages")] = False,
) -> None:
    """List your imports, the newest first; superusers see all imports."""
    run.show_pages(runs.list_page, ListRuns(limit, cursor), every=all_pages)
