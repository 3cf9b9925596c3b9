"""`bazar orgs members remove`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from bazar_cli.domain.orgs.members import REMOVE, MemberChange, RemoveMember
from bazar_cli.services.orgs import members
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.members import MEMBER_CHANGE


@command(
    REMOVE,
    view=MEMBER_CHANGE,
    examples=(
        "bazar orgs members remove acme ada@example.com --yes",
        "bazar orgs members remove acme ada@example.com --dry-run",
    ),
)
def run(
    run: Run[MemberChange],
    org: Annotated[str, Argument(help="id or slug")],
    user: Annotated[str, Argument(help="id or email")],
) -> None:
    """Remove a member from an organization; the user is kept.

    It asks first; --yes answers. Every member may leave.
    """
    change = run.perform(members.remove, RemoveMember(org, user))
    if not change.changed:
        run.notice(f"{change.email} is not a member of {change.organization}; nothing was changed")
    run.show(change)
