"""`bazar config profiles use`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from bazar_cli.domain.config import PROFILES_USE, Profile
from bazar_cli.services import config
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.config import PROFILE


@command(PROFILES_USE, view=PROFILE, examples=("bazar config profiles use staging", "bazar config profiles use local"))
def run(run: Run[Profile], name: Annotated[str, Argument(help="name of the profile")]) -> None:
    """Make a profile the active one.

    Its target is used if nothing else names one.
    """
    run.show(config.use_profile(run.environ, name))
