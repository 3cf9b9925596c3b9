"""`bazar users restore`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from bazar_cli.domain.users import RESTORE, RestoreUser, User
from bazar_cli.runtime.command import command
from bazar_cli.runtime.run import Run
from bazar_cli.runtime.views.users import USER
from bazar_cli.services import user_suspension


@command(
    RESTORE,
    view=USER,
    examples=("bazar users restore ada@example.com", "bazar users restore ada@example.com --dry-run"),
)
def run(run: Run[User], user: Annotated[str, Argument(help="id or email")]) -> None:
    """Let a suspended user in again; they sign in anew.

    It also takes back a deletion that was cut off, while Supabase still has the identity. A run that was cut off
    is finished by running the same command again.
    """
    restored = run.perform(user_suspension.restore, RestoreUser(user))
    run.show(restored.user)
    if not restored.changed:
        run.notice(f"{restored.user.email} was active already; nothing was changed")
    elif not restored.has_identity:
        run.warn(f"Supabase has no identity of {restored.user.email}, who cannot sign in: see `bazar doctor`")
