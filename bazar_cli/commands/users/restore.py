"""`bazar users restore`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from bazar_cli.domain.users.changes import RESTORE, RestoredUser, RestoreUser
from bazar_cli.services.users import suspend
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.user_changes import RESTORED


@command(
    RESTORE,
    view=RESTORED,
    examples=("bazar users restore ada@example.com", "bazar users restore ada@example.com --dry-run"),
)
def run(run: Run[RestoredUser], user: Annotated[str, Argument(help="id or email")]) -> None:
    """Let a suspended user sign in again.

    The password is the same as before. Earlier access tokens that have not expired can read again, and an earlier
    recovery link works again. An interrupted deletion is cancelled if Supabase still has the identity. Run an
    interrupted command again to finish it.
    """
    restored = run.perform(suspend.restore, RestoreUser(user))
    run.show(restored)
    if not restored.changed:
        run.notice(f"{restored.user.email} is already active; nothing was changed")
    elif not restored.has_identity:
        run.warn(f"Supabase has no identity of {restored.user.email}, so the user cannot sign in: see `bazar doctor`")
