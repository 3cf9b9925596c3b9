"""`bazar db seed`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.declared.shapes import FILE_BYTES
from bazar_cli.domain.demo.seed import SEED, Seed, Seeded, seed_password
from bazar_cli.domain.errors import ExitCode
from bazar_cli.domain.texts import Verbatim
from bazar_cli.services.apply import demo_data
from bazar_cli.services.apply.state_file import read_seed
from bazar_cli.terminal.command import command
from bazar_cli.terminal.progress import ProgressMode, ProgressOption, shown
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.seed import SEEDED, warnings


@command(
    SEED,
    view=SEEDED,
    examples=("bazar db seed --yes", "bazar db seed --file demo.json --users 500 --dry-run"),
)
def run(
    run: Run[Seeded],
    file: Annotated[
        Verbatim | None, Option("--file", help="create what this JSON file names; - is standard input", metavar="FILE")
    ] = None,
    users: Annotated[int, Option("--users", help="more users to generate (default 0)", metavar="N")] = 0,
    progress: ProgressOption = ProgressMode.AUTO,
) -> int:
    """Create demo users and organizations in both systems; a second run changes nothing.

    It shows what it would create and asks first; --yes answers. What exists is not changed. After a reset,
    identities of this Bazar are used again. BAZAR_SEED_PASSWORD sets the password of new users. A protected
    database is always refused.
    """
    data = None if file is None else read_seed(*run.read_file(file, FILE_BYTES))
    request = Seed(data, users, seed_password(run.environ))
    dry_run = run.options.dry_run
    prepared = demo_data.prepare(run.gate, request, dry_run=dry_run)
    if prepared.plan.writes and not dry_run:
        again = command_line("db seed", file=file, users=str(users) if users else None, yes=True)
        run.agree(prepared.impact(again))
    with shown(progress, run.environ, quiet=run.options.quiet) as report:
        done = prepared.seeded() if dry_run else demo_data.carry_out(run.gate, prepared, report)
    _report(run, done)
    run.show(done)
    return ExitCode.PARTIAL if done.partly_done else ExitCode.DONE


def _report(run: Run[Seeded], done: Seeded) -> None:
    """Warn of what failed or differs, or say that there was nothing to do."""
    if not run.notice_dry_run() and not done.writes and not done.partly_done:
        run.notice("everything exists already; nothing was changed")
    for text in warnings(done):
        run.warn(text)
