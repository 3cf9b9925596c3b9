"""`bazar config profiles list`."""

from __future__ import annotations

from bazar_cli.domain.config import PROFILES_LIST, Profile
from bazar_cli.services import config
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.config import PROFILE


@command(PROFILES_LIST, view=PROFILE, examples=("bazar config profiles list", "bazar config profiles list -o ids"))
def run(run: Run[Profile]) -> None:
    """List the profiles, by name."""
    found = config.profiles(run.environ)
    if any(profile.signed_in is None for profile in found):
        run.warn("the keyring does not answer, so it is unknown which profiles have a session")
    run.show_all(found)
