"""`bazar config path`."""

from __future__ import annotations

from bazar_cli.domain.config import PATH, Place
from bazar_cli.services import config
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.config import PLACE


@command(PATH, view=PLACE, examples=("bazar config path", "bazar config path -o json"))
def run(run: Run[Place]) -> None:
    """Show where configuration, secrets, caches and the embedded stack are kept."""
    run.show_all(config.places(run.environ))
