"""`bazar auth logout`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.domain.auth import LOGOUT, LoggedOut, Logout
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.auth import LOGGED_OUT


@command(LOGOUT, view=LOGGED_OUT, examples=("bazar auth logout", "bazar auth logout --everywhere"))
def run(
    run: Run[LoggedOut],
    everywhere: Annotated[bool, Option("--everywhere", help="end all of your sessions at Supabase")] = False,
) -> None:
    """End the session of this machine, or all of your sessions.

    Access tokens that were issued can no longer write. They can read until they expire.
    """
    ended = run.account.logout(Logout(everywhere))
    if run.token is not None and not everywhere:
        run.warn("BAZAR_TOKEN is set and is still used: only the stored session was ended; unset it too")
    if not ended.was_signed_in:
        run.notice("you were not signed in")
    elif ended.at_supabase is None:
        run.warn("the session was removed here; Supabase Auth did not answer, so it ends there when it expires")
    run.show(ended)
