"""`bazar plans matrix`."""

from __future__ import annotations

from bazar_cli.domain.plans import MATRIX, MatrixRow
from bazar_cli.services.plans import read
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views import plans as views


@command(MATRIX, view=views.MATRIX, examples=("bazar plans matrix", "bazar plans matrix -o csv"))
def run(run: Run[MatrixRow]) -> None:
    """Show which plan has which permission."""
    run.show_all(run.perform(read.matrix, None))
