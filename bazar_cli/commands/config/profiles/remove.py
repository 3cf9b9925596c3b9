"""`bazar config profiles remove`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from bazar_cli.domain.config import PROFILES_REMOVE, Profile
from bazar_cli.services import config
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run


@command(
    PROFILES_REMOVE, examples=("bazar config profiles remove staging", "bazar config profiles remove staging --quiet")
)
def run(run: Run[Profile], name: Annotated[str, Argument(help="name of the profile")]) -> None:
    """Remove a profile with its secrets and its session."""
    config.remove_profile(run.environ, name)
    run.notice(f"the profile {name} was removed")
