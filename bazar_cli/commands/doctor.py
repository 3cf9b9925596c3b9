"""`bazar doctor`."""

from __future__ import annotations

from pathlib import Path

from bazar_cli.domain.doctor import EXAMINE, Check
from bazar_cli.domain.errors import ExitCode
from bazar_cli.runtime.command import command
from bazar_cli.runtime.run import Run
from bazar_cli.runtime.views.config import CHECK
from bazar_cli.services import doctor


@command(EXAMINE, view=CHECK, examples=("bazar doctor", "bazar doctor --profile local -o json"))
def run(run: Run[Check]) -> int:
    """Check the configuration, and that both systems answer; exit code 9 with findings."""
    found = doctor.examine(run.choice, run.environ, Path.cwd(), run.sign_in, run.request_id)
    run.show_all(found.checks)
    return ExitCode.FINDING if found.findings else ExitCode.DONE
