"""`bazar config show`."""

from __future__ import annotations

from bazar_cli.domain.config import SHOW, Setting
from bazar_cli.services import config
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.run_output import current_folder
from bazar_cli.terminal.views.config import SETTING


@command(SHOW, view=SETTING, examples=("bazar config show", "bazar config show --profile local -o json"))
def run(run: Run[Setting]) -> None:
    """Show each setting with its value and its source; secrets are hidden."""
    run.show_all(config.settings(run.choice, run.environ, current_folder(), run.warn_of_source))
