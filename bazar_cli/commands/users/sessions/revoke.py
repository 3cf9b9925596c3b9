"""`bazar users sessions revoke`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from bazar_cli.domain.users.sessions import REVOKE, OfUser, RevokedSessions
from bazar_cli.services.users import sessions
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.user_sessions import REVOKED, still_valid


@command(
    REVOKE,
    view=REVOKED,
    examples=("bazar users sessions revoke ada@example.com", "bazar users sessions revoke ada@example.com --dry-run"),
)
def run(run: Run[RevokedSessions], user: Annotated[str, Argument(help="id or email")]) -> None:
    """End all sessions of a user; the user can sign in again.

    For yourself it does the same as `bazar auth logout --everywhere`. Supabase Auth and writes of bazar refuse
    issued access tokens at once. Elsewhere these are valid until they expire, at the latest at
    `tokens_valid_until`, which is null if the user had no session.
    """
    revoked = run.perform(sessions.revoke, OfUser(user))
    if revoked.own and not run.options.dry_run:
        run.account.forget_ended()
        run.notice("your own session has ended too: sign in again with `bazar auth login`")
    elif not run.options.dry_run:
        run.notice(still_valid(revoked))
    run.show(revoked)
