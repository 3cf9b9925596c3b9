"""`bazar audit verify`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.domain.audit import VERIFY, Verification, VerifyLog
from bazar_cli.domain.errors import ExitCode
from bazar_cli.services.audit import read
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.audit import VERIFICATION, finding_text


@command(
    VERIFY,
    view=VERIFICATION,
    examples=(
        "bazar audit verify",
        'bazar audit verify --expect "$(tail -n 1 heads.txt)" -o json',
    ),
)
def run(
    run: Run[Verification],
    expect: Annotated[
        str | None, Option("--expect", help="head of an earlier run, which the log must contain", metavar="HASH")
    ] = None,
) -> int:
    """Seal the log and prove that no event was changed, removed or inserted.

    The exit code is 9 if one was. It is also 9 for a rule, a disabled trigger or an exhausted sequence on the
    tables of the log. Keep `head` in a place where the owner of the database cannot change it. docs/audit.md says
    what the check proves: an event that the owner adds looks like one that bazar wrote.
    """
    found = run.perform(read.verify, VerifyLog(expect))
    run.show(found)
    if found.out_of_order:
        run.notice(
            f"{finding_text(found.out_of_order[0])}. The cause may be a clock that was set back, a transaction that was"
            " open that long, or an event that was added by hand"
        )
    for gap in found.unguarded:
        run.warn(f"{gap.message}; run as the owner of the table: {gap.remedy}")
    if not found.whole:
        run.warn(f"the audit log is not whole: {finding_text(found.findings[0])}")
    return ExitCode.DONE if found.whole and not found.unguarded else ExitCode.FINDING
