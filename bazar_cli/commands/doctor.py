"""`bazar doctor`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from typer import Option

from bazar_cli.domain.consent import Impact
from bazar_cli.domain.doctor import EXAMINE, PARTS, Check, Diagnosis, Repair
from bazar_cli.domain.errors import ExitCode
from bazar_cli.services.doctor import report
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.config import CHECK


@command(
    EXAMINE,
    view=CHECK,
    examples=("bazar doctor", "bazar doctor --profile local -o json", "bazar doctor --fix --yes"),
    parts=PARTS,
)
def run(
    run: Run[Check],
    fix: Annotated[bool, Option("--fix", help="finish changes that interrupted commands left pending")] = False,
) -> int:
    """Check the configuration, and that both systems answer and agree.

    The exit code is 9 if there are findings. --fix finishes pending changes as running their commands again would.
    It sets no password, and deletes only identities of users whose deletion was begun.
    """
    places = report.Places(
        target=lambda: run.target,
        identities=lambda: run.identities,
        backends=lambda: run.backends,
        gate=lambda: run.gate,
    )
    fixed = _fix(run, places) if fix else ()
    found = Diagnosis((*report.examine(run.environ, places).checks, *fixed))
    # Texts of servers and libraries are a part of this result, and must hold no secret.
    run.show_all(
        tuple(replace(c, detail=run.as_message(c.detail), remedy=run.as_message(c.remedy)) for c in found.checks)
    )
    return ExitCode.FINDING if found.findings else ExitCode.DONE


def _fix(run: Run[Check], places: report.Places) -> tuple[Check, ...]:
    dry_run = run.options.dry_run
    pending = report.unfinished(places, dry_run=dry_run)
    if pending and not dry_run:
        run.agree(
            Impact(
                text=f"this finishes the pending changes of {report.named(pending)}",
                question="Finish them?",
                command="bazar doctor --fix --yes",
            )
        )

    def report_repair(repair: Repair) -> None:
        would = "would be " if dry_run else ""
        run.notice(f"{repair.user.email}: {would}{repair.outcome}{f'; {repair.note}' if repair.note else ''}")

    return (report.fix(places, pending, report_repair, dry_run=dry_run),)
