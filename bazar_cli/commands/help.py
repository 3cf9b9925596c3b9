"""`bazar help`. Without options, `main` answers before this module is imported."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from bazar_cli.domain.cli import HELP
from bazar_cli.terminal.command import command
from bazar_cli.terminal.help_words import help_on, unknown
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.streams import results
from bazar_cli.terminal.views.text import TEXT


@command(HELP, view=TEXT, examples=("bazar help exit-codes", "bazar help users create", "bazar help users.not_found"))
def run(
    run: Run[str],
    words: Annotated[list[str] | None, Argument(help="a command, a topic or an error code", metavar="TOPIC")] = None,
) -> None:
    """Explain a command, a topic or an error code.

    The topics are environment, exit-codes, output, permissions and targets.
    """
    text = help_on(words or [], results(), run.environ)
    if not text:
        raise unknown(words or [])
    run.show(text)
