"""`bazar orgs members list`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.entities import Role
from bazar_cli.domain.orgs.members import LIST, ListMembers, Member
from bazar_cli.domain.page import DEFAULT_LIMIT
from bazar_cli.services.orgs import members
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.members import MEMBER


@command(
    LIST,
    view=MEMBER,
    examples=("bazar orgs members list acme --role owner", "bazar orgs members list acme --all -o csv"),
)
def run(
    run: Run[Member],
    org: Annotated[str, Argument(help="id or slug")],
    role: Annotated[Role | None, Option("--role", help="only owners, admins or members", metavar="ROLE")] = None,
    limit: Annotated[
        int, Option("--limit", help="members per page, 1 to 1000 (default 50)", metavar="N")
    ] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Option("--cursor", help="continue after an earlier page", metavar="CURSOR")] = None,
    all_pages: Annotated[bool, Option("--all", help="show all pages")] = False,
) -> None:
    """List the members of an organization, the oldest membership first."""
    run.show_pages(members.list_page, ListMembers(org, role, limit, cursor), every=all_pages)
