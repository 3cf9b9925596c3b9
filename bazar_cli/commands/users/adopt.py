"""`bazar users adopt`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.entities import UserState
from bazar_cli.domain.users.changes import ADOPT, AdoptedUser, AdoptUser
from bazar_cli.services.users import adopt
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.base import rfc3339
from bazar_cli.terminal.views.user_changes import ADOPTED


@command(
    ADOPT,
    view=ADOPTED,
    examples=(
        "bazar users adopt ada@example.com",
        'bazar users adopt ada@example.com --name "Ada Lovelace" --org acme',
    ),
)
def run(
    run: Run[AdoptedUser],
    email: Annotated[str, Argument(help="email address of the identity at Supabase")],
    name: Annotated[str | None, Option("--name", help="display name", metavar="NAME")] = None,
    org: Annotated[str | None, Option("--org", help="organization to join, by id or slug", metavar="ORG")] = None,
) -> None:
    """Make a user of an identity that exists only at Supabase, with the same id.

    The user is on Free. The identity keeps its password and sessions. A banned identity becomes a suspended user,
    and its ban lasts until the user is restored. Run an interrupted command again to finish it.
    """
    done = run.perform(adopt.adopt, AdoptUser(email, name, org))
    user = done.user
    if not done.adopted:
        run.notice(f"{user.email} is already a user; nothing was changed")
    if user.state is UserState.SUSPENDED:
        run.notice(f"{user.email} is banned at Supabase and is therefore suspended here")
    if done.ban_ended is not None:
        lasts = "would last" if run.options.dry_run else "lasts"
        restore = command_line("users restore", user.email)
        run.notice(f"the ban would have ended at {rfc3339(done.ban_ended)}; now it {lasts} until `{restore}`")
    if not done.confirmed:
        reset = command_line("users reset-password", user.email)
        run.notice(f"{user.email} is not confirmed and cannot sign in yet: `{reset}` mails a link that confirms it")
    run.show(done)
