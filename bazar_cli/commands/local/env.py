"""`bazar local env`."""

from __future__ import annotations

from collections.abc import Mapping

from bazar_cli.devstack import stack
from bazar_cli.domain.local import ENV
from bazar_cli.services.config import data_folder
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.local import ENVIRONMENT


@command(ENV, view=ENVIRONMENT, examples=('eval "$(bazar local env)"', "bazar local env -o json"))
def run(run: Run[Mapping[str, str]]) -> None:
    """Print the target of the running stack as shell exports, secrets included."""
    run.show(stack.environment(data_folder(run.environ)))
