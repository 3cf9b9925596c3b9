"""`bazar users update`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.entities import User
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.users.changes import UPDATE, UpdateUser
from bazar_cli.services.users import update
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.times import moment
from bazar_cli.terminal.views.users import USER


@command(
    UPDATE,
    view=USER,
    examples=(
        'bazar users update ada@example.com --name "Ada King"',
        'bazar users update ada@example.com --name "" --dry-run',
        "bazar users update ada@example.com --email ada.king@example.com",
    ),
)
def run(
    run: Run[User],
    user: Annotated[str, Argument(help="id or email")],
    email: Annotated[
        str | None,
        Option("--email", help="new address, confirmed at once, in lower case", metavar="EMAIL"),
    ] = None,
    name: Annotated[str | None, Option("--name", help="new display name; empty removes it", metavar="NAME")] = None,
    if_unchanged_since: Annotated[
        str | None,
        Option("--if-unchanged-since", help="only if updated_at is not later than this", metavar="TIME"),
    ] = None,
) -> None:
    """Change the name or the email address of a user.

    An address is changed in both systems. Run an interrupted command again to finish it.
    """
    if name is None and email is None:
        raise UsageError("users.nothing_to_update", "nothing to change was given", hint="give --email or --name")
    since = moment(if_unchanged_since, "--if-unchanged-since") if if_unchanged_since is not None else None
    updated = run.perform(update.update, UpdateUser(user, name, since, email))
    if not updated.changed:
        run.notice(f"{updated.user.email} already has these values; nothing was changed")
    run.show(updated.user)
