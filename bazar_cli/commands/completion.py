"""`bazar completion`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from bazar_cli.domain.cli import COMPLETION
from bazar_cli.terminal.command import command
from bazar_cli.terminal.completion_scripts import Shell, script
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.text import TEXT


@command(
    COMPLETION,
    view=TEXT,
    examples=(
        'eval "$(bazar completion bash)"',
        'eval "$(bazar completion zsh)"',
        "bazar completion fish > ~/.config/fish/completions/bazar.fish",
    ),
)
def run(run: Run[str], shell: Annotated[Shell, Argument(help="bash, zsh or fish")]) -> None:
    """Print the completion script of a shell.

    Add the line of the example to ~/.bashrc, or to ~/.zshrc after compinit. fish reads its folder itself.
    """
    run.show(script(shell))
