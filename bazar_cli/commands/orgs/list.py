"""`bazar orgs list`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.domain.entities import Organization
from bazar_cli.domain.orgs.organizations import LIST, ListOrganizations
from bazar_cli.domain.page import DEFAULT_LIMIT
from bazar_cli.services.orgs import organizations
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.orgs import ORGANIZATION


@command(LIST, view=ORGANIZATION, examples=("bazar orgs list", "bazar orgs list --all -o json --fields slug,members"))
def run(
    run: Run[Organization],
    limit: Annotated[
        int, Option("--limit", help="organizations per page, 1 to 1000 (default 50)", metavar="N")
    ] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Option("--cursor", help="continue after an earlier page", metavar="CURSOR")] = None,
    all_pages: Annotated[bool, Option("--all", help="show all pages")] = False,
) -> None:
    """List the organizations that you can see, oldest first."""
    run.show_pages(organizations.list_page, ListOrganizations(limit, cursor), every=all_pages)
