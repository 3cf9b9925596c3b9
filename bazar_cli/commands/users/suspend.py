"""`bazar users suspend`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.users.changes import SUSPEND, SuspendedUser, SuspendUser
from bazar_cli.services.users import suspend
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.user_changes import SUSPENDED, what_suspending_ends


@command(
    SUSPEND,
    view=SUSPENDED,
    examples=(
        'bazar users suspend ada@example.com --reason "left the company"',
        'bazar users suspend ada@example.com --reason "lost laptop" --yes -o json',
    ),
)
def run(
    run: Run[SuspendedUser],
    user: Annotated[str, Argument(help="id or email")],
    reason: Annotated[str, Option("--reason", help="why, for the audit log; 1 to 500 characters", metavar="TEXT")],
) -> None:
    """Suspend a user in both systems and end the user's sessions.

    It says until when issued access tokens are valid. Sessions are ended if DATABASE_URL may delete from
    auth.sessions of the same project. If not, a warning says so and `sessions_ended` is null: the ban stops sign-in
    and refresh, and a restore allows both again. `bazar users restore` undoes a suspension. Run an interrupted
    command again to finish it.
    """

    suspended = run.perform(suspend.suspend, SuspendUser(user, reason))
    run.show(suspended)
    for text in what_suspending_ends(suspended):
        run.notice(text)
    if suspended.keeps_sessions and not run.options.dry_run:
        run.warn(
            f"the sessions of {suspended.user.email} could not be ended, because DATABASE_URL has no right to end them;"
            " after `bazar users restore` their refresh tokens work again"
        )
