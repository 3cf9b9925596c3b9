"""`bazar users restore`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from bazar_cli.domain.users.users import RESTORE, RestoredUser, RestoreUser
from bazar_cli.services.users import suspend
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.users import RESTORED


@command(
    RESTORE,
    view=RESTORED,
    examples=("bazar users restore ada@example.com", "bazar users restore ada@example.com --dry-run"),
)
def run(run: Run[RestoredUser], user: Annotated[str, Argument(help="id or email")]) -> None:
    """Let a suspended user in again; they sign in anew.

    Their password is the same as before. An access token that was issued before and has not expired is good for
    reading again until it expires, and a recovery link that was printed before works again.
    It also takes back a deletion that was cut off, while Supabase still has the identity. A run that was cut off
    is finished by running the same command again.
    """
    restored = run.perform(suspend.restore, RestoreUser(user))
    run.show(restored)
    if not restored.changed:
        run.notice(f"{restored.user.email} was active already; nothing was changed")
    elif not restored.has_identity:
        run.warn(f"Supabase has no identity of {restored.user.email}, who cannot sign in: see `bazar doctor`")
