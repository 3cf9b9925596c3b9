"""The first phases of an import: check the whole file, then write a run and its rows, in one transaction.

A file with a fault writes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.imports.file import RowFile
from bazar_cli.domain.imports.findings import Findings
from bazar_cli.domain.imports.imports import Imported, ImportRun
from bazar_cli.domain.texts import counted
from bazar_cli.services.imports import outcomes
from bazar_cli.services.imports.judge import judge
from bazar_cli.services.users.ids import time_ordered_uuid

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.connections import Connection
    from bazar_cli.adapters.postgres.imports.incoming import Decided
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.imports.request import Command


class StagedMeanwhile(Exception):
    """Another command staged the same file."""


def checked_and_staged(backends: Backends, grant: Grant, command: Command) -> ImportRun | Imported:
    """Check the file and stage its rows; return the run, of a file without rows and in a dry run the outcome.

    Raises: StagedMeanwhile; UsageError `imports.file_invalid`; Denied `imports.denied`; Conflict
    `imports.file_changed`.
    """
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.imports import incoming, judged, runs

    findings, rows = Findings(), RowFile(command.file.chunks(), command.format)
    with backends.database().preparation(grant) as (connection, hold):
        incoming.copy(connection, rows.rows(findings), lambda done: command.progress("rows checked", done, None))
        decided = incoming.compare(connection, grant.reach, command.request.on_conflict, findings)
        judge(command.gate, grant, connection, judged.Rows(), findings)
        if findings.count:
            raise findings.error(command.file.named)
        _say_what_is_special(command, rows, decided)
        if grant.dry_run or not decided.rows:
            return outcomes.expected(connection, grant, command, decided.rows)
        hold({m.id for m in judged.new_memberships(connection, judged.Rows())} & grant.reach.organization_ids)
        run_id, staged = time_ordered_uuid(), not incoming.awaits_hashes(connection)
        columns = _columns(connection, rows)
        if not runs.begin(connection, grant, run_id, command.request, columns, rows=decided.rows, staged=staged):
            raise StagedMeanwhile
        incoming.stage(connection, run_id)
        after = {
            "rows": decided.rows,
            **{status.value: count for status, count in sorted(runs.counts(connection, run_id).items())},
        }
        events.record(connection, grant, events.Change("import", run_id, after=after))
        run = runs.find(connection, run_id)
        assert run is not None, "the transaction inserted it"
        return run


def _columns(connection: Connection, rows: RowFile) -> tuple[str, ...]:
    """Return the columns that the run writes: an id or app_metadata only if a new user gets one."""
    from bazar_cli.adapters.postgres.imports import judged

    needs = (judged.Need.CHOOSES_ID, judged.Need.WRITES_APP_METADATA)
    asked = judged.asked(connection, judged.Rows(), needs)
    unused = {name for name, used in zip(("id", "app_metadata"), asked, strict=True) if not used}
    return tuple(name for name in rows.read if name not in unused)


def _say_what_is_special(command: Command, rows: RowFile, decided: Decided) -> None:
    if rows.ignored:
        command.notice(f"not read: the columns {', '.join(rows.ignored)}")
    if decided.keep_credentials:
        kept = counted(decided.keep_credentials, "row")
        command.notice(f"{kept} of existing users: they keep their password and metadata")
    if rows.formulas:
        first = ", ".join(map(str, rows.first_formulas))
        lines = f"{first} and others" if rows.formulas > len(rows.first_formulas) else first
        cells = counted(rows.formulas, "cell")
        command.notice(f"{cells} with the beginning of a formula (=, +, - or @), imported unchanged: line {lines}")
