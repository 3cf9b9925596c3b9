"""`bazar auth refresh`."""

from __future__ import annotations

from bazar_cli.domain.auth import REFRESH, WhoAmI
from bazar_cli.runtime.command import command
from bazar_cli.runtime.run import Run
from bazar_cli.runtime.views.auth import WHO
from bazar_cli.services import auth


@command(REFRESH, view=WHO, examples=("bazar auth refresh", "bazar auth refresh -o json --fields expires_at"))
def run(run: Run[WhoAmI]) -> None:
    """Renew the stored session now; commands do it by themselves a minute before it ends."""
    run.show(auth.refresh(run.system, run.authorize(None), run.identities))
