"""`bazar users reset-password`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.users.changes import RESET_PASSWORD, PasswordReset, ResetPassword
from bazar_cli.services.interrupts import until_shown
from bazar_cli.services.users import reset_password
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.user_changes import RESET


@command(
    RESET_PASSWORD,
    view=RESET,
    examples=(
        "bazar users reset-password ada@example.com",
        "bazar users reset-password ada@example.com --print-link -o json",
    ),
)
def run(
    run: Run[PasswordReset],
    user: Annotated[str, Argument(help="id or email")],
    print_link: Annotated[
        bool, Option("--print-link", help="show the link once, in the result, and send no mail")
    ] = False,
) -> None:
    """Mail a user a link to set a new password.

    The old password and the sessions remain valid until then. A new link replaces an older one. Anybody who opens a
    link is signed in as the user: hand over a printed link in private.
    """
    if print_link:
        run.require_field("link", "a recovery link is shown once")
    with until_shown():
        done = run.perform(reset_password.reset, ResetPassword(user, print_link))
        if done.mailed and not run.options.dry_run:
            run.notice(f"Supabase Auth mails a link to {done.user.email}")
        run.show(done)
