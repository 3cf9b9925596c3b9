"""`bazar help`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from bazar_cli.domain.cli import HELP
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.topics import TEXT, help_on


@command(HELP, view=TEXT, examples=("bazar help exit-codes", "bazar help users create"))
def run(
    run: Run[str],
    words: Annotated[list[str] | None, Argument(help="a command or a topic", metavar="TOPIC")] = None,
) -> None:
    """Explain a command, or one of the topics exit-codes, environment and output."""
    run.show(help_on(words or [], run.environ))
