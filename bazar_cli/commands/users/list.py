"""`bazar users list`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.domain.entities import Plan, User, UserState
from bazar_cli.domain.page import DEFAULT_LIMIT
from bazar_cli.domain.users.users import LIST, ListUsers, UserSort
from bazar_cli.services.users import read
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.times import moment
from bazar_cli.terminal.views.users import USER


@command(
    LIST,
    view=USER,
    examples=(
        "bazar users list --org acme --plan premium",
        "bazar users list --all -o csv --fields email,name,plan",
    ),
)
def run(
    run: Run[User],
    org: Annotated[str | None, Option("--org", help="members of this organization", metavar="ORG")] = None,
    plan: Annotated[Plan | None, Option("--plan", help="users on this plan", metavar="PLAN")] = None,
    state: Annotated[UserState | None, Option("--state", help="active or suspended", metavar="STATE")] = None,
    search: Annotated[str | None, Option("--search", help="part of email or name", metavar="TEXT")] = None,
    created_since: Annotated[
        str | None, Option("--created-since", help="created at or after this date or time", metavar="TIME")
    ] = None,
    sort: Annotated[UserSort, Option("--sort", help="created (default) or email", metavar="ORDER")] = UserSort.CREATED,
    limit: Annotated[
        int, Option("--limit", help="users per page, 1 to 1000 (default 50)", metavar="N")
    ] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Option("--cursor", help="continue after an earlier page", metavar="CURSOR")] = None,
    all_pages: Annotated[bool, Option("--all", help="show all pages")] = False,
) -> None:
    """List the users that you can see, oldest first."""
    since = moment(created_since, "--created-since") if created_since is not None else None
    request = ListUsers(org, plan, state, search, since, sort, limit, cursor)
    run.show_pages(read.list_page, request, every=all_pages)
