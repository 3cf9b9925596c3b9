"""`bazar orgs members update`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.entities import Role
from bazar_cli.domain.orgs.members import UPDATE, MemberChange, UpdateMember
from bazar_cli.services.orgs import members
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.members import MEMBER_CHANGE


@command(
    UPDATE,
    view=MEMBER_CHANGE,
    examples=(
        "bazar orgs members update acme ada@example.com --role owner",
        "bazar orgs members update acme bob@example.com --role member --dry-run",
    ),
)
def run(
    run: Run[MemberChange],
    org: Annotated[str, Argument(help="id or slug")],
    user: Annotated[str, Argument(help="id or email")],
    role: Annotated[Role, Option("--role", help="owner, admin or member", metavar="ROLE")],
) -> None:
    """Change the role of a member.

    To hand over an organization, make another member an owner, then change your own role.
    """
    change = run.perform(members.update, UpdateMember(org, user, role))
    if not change.changed:
        run.notice(f"{change.email} is {role} of {change.organization} already; nothing was changed")
    run.show(change)
