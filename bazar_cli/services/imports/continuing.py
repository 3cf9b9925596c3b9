"""The open run of a file: whether this command may continue it, and what would become of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bazar_cli.domain.authz import row_rules
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.errors import Conflict
from bazar_cli.domain.imports.findings import Findings
from bazar_cli.domain.imports.imports import Imported, ImportRun, Status
from bazar_cli.domain.texts import counted
from bazar_cli.services.imports import outcomes
from bazar_cli.services.imports.judge import judge

if TYPE_CHECKING:
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.imports.request import Command


def continued(backends: Backends, grant: Grant, command: Command, run: ImportRun) -> ImportRun | Imported:
    """Return an open run that this command may continue, in a dry run the expected outcome.

    The rights of its operator may have changed since it began. Raises: Conflict `imports.options_differ`,
    `imports.other_operator`; Denied `imports.denied`, or as the row rules.
    """
    from bazar_cli.adapters.postgres.imports import incoming, judged, runs

    _refuse_others(grant, command, run)
    if "id" in run.columns:
        row_rules.may_choose_id(grant)
    findings = Findings()
    with backends.database().read(grant) as connection:
        judge(command.gate, grant, connection, judged.Rows(run.id), findings)
        done = run.rows - runs.counts(connection, run.id).get(Status.OPEN, 0)
    if findings.count:
        raise findings.error(command.file.named)
    of = f"{done} of {counted(run.rows, 'row')} done"
    if not grant.dry_run:
        command.notice(f"continuing the run {run.id}: {of}")
        return run
    command.notice(f"the run {run.id} of this file is open, {of}: without --dry-run the command continues it")
    with backends.database().preparation(grant) as (connection, _hold):
        return outcomes.expected(connection, grant, command, incoming.expect(connection, grant.reach, run))


def _refuse_others(grant: Grant, command: Command, run: ImportRun) -> None:
    asked = command.request
    differ = {
        name: f"--{name.replace('_', '-')} {before}"
        for name, before, now in (
            ("via", run.via, asked.via),
            ("on_conflict", run.on_conflict, asked.on_conflict),
        )
        if before is not now
    }
    end = f"`bazar users imports undo {run.id}` ends it"
    if run.operator_id != grant.operator.id and not grant.operator.is_superuser:
        raise Conflict(
            "imports.other_operator",
            "another operator began to import this file, and did not finish",
            hint="let them, or a superuser, run the command again",
            details={"run_id": str(run.id)},
        )
    if differ:
        raise Conflict(
            "imports.options_differ",
            f"the run {run.id} of this file is open, and began with {' '.join(differ.values())}",
            hint=f"run the command again with {' '.join(differ.values())}; {end}",
            details={"run_id": str(run.id), "different": sorted(differ)},
        )
