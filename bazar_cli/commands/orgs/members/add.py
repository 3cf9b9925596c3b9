"""`bazar orgs members add`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.entities import Role
from bazar_cli.domain.orgs.members import ADD, AddMember, MemberChange
from bazar_cli.services.orgs import members
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.members import MEMBER_CHANGE


@command(
    ADD,
    view=MEMBER_CHANGE,
    examples=(
        "bazar orgs members add acme ada@example.com",
        "bazar orgs members add acme ada@example.com --role admin --dry-run",
    ),
)
def run(
    run: Run[MemberChange],
    org: Annotated[str, Argument(help="id or slug")],
    user: Annotated[str, Argument(help="id or email")],
    role: Annotated[Role, Option("--role", help="owner, admin or member (default)", metavar="ROLE")] = Role.MEMBER,
) -> None:
    """Add a user that you can see to an organization.

    `bazar users create --org` adds a new user.
    """
    change = run.perform(members.add, AddMember(org, user, role))
    if not change.changed:
        run.notice(f"{change.email} is {role} of {change.organization} already; nothing was changed")
    run.show(change)
