"""`bazar orgs members remove`."""

from __future__ import annotations

from shlex import quote
from typing import Annotated

from typer import Argument

from bazar_cli.domain.members import REMOVE, MemberChange, RemoveMember
from bazar_cli.runtime.command import command
from bazar_cli.runtime.run import Run
from bazar_cli.runtime.views.members import MEMBER_CHANGE
from bazar_cli.services import members


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
    """Take a member out of an organization, after asking; the user stays. Anybody may leave."""
    request = RemoveMember(org, user)
    if not (run.options.dry_run or run.options.yes):
        going = run.perform(members.foresee_removal, request)
        if going.changed:
            question = f"Remove {going.email} ({going.previous_role}) from {going.organization}?"
            run.prompter.consent(question, command=f"bazar orgs members remove {quote(org)} {quote(user)} --yes")
    change = run.perform(members.remove, request)
    if not change.changed:
        run.notice(f"{change.email} is no member of {change.organization}; nothing was changed")
    run.show(change)
