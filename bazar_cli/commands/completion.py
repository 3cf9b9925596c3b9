"""`bazar completion`."""

from __future__ import annotations

import sys
from typing import Annotated

from typer import Argument

from bazar_cli.domain.cli import COMPLETION
from bazar_cli.runtime.command import command
from bazar_cli.runtime.completion_scripts import Shell, script
from bazar_cli.runtime.run import Run
from bazar_cli.runtime.topics import TEXT


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

    Such a line belongs into ~/.bashrc, or into ~/.zshrc after compinit; fish reads its folder by itself.
    """
    text = script(shell)
    if run.options.output is None and run.options.fields is None:
        # A shell reads this whenever it starts: BAZAR_OUTPUT must not make JSON of it.
        sys.stdout.write(text)
    else:
        run.show(text)
