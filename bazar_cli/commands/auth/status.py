"""`bazar auth status`."""

from __future__ import annotations

from bazar_cli.domain.auth import STATUS, WhoAmI
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.auth import WHO


@command(STATUS, view=WHO, examples=("bazar auth status", "bazar auth status -o json --fields email,expires_at"))
def run(run: Run[WhoAmI]) -> None:
    """Show who is signed in, the source of the session, and when it expires.

    The exit code is 4 if you are not signed in. Supabase Auth is asked whether the session is still valid; if it does
    not answer, `confirmed` is false.
    """
    who = run.account.status()
    if who.note is not None:
        run.warn(f"it is unknown whether the session is still valid: {who.note}")
    run.show(who)
