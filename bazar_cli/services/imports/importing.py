"""`users import`: check the file, stage its rows, apply them, write the results. Each part can be repeated.

`prepare` checks and stages in one transaction, and writes nothing where it finds a fault. `carry_out` does the rest. A
run is known by the content of its file: the same command again continues it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bazar_cli.domain.authz import row_rules
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.errors import Conflict
from bazar_cli.domain.imports.file import RowFile
from bazar_cli.domain.imports.findings import Findings
from bazar_cli.domain.imports.imports import (
    IMPORT,
    FileFormat,
    Imported,
    ImportRun,
    ImportUsers,
    RowResult,
    Status,
    Via,
)
from bazar_cli.domain.page import Page
from bazar_cli.domain.progress import Progress
from bazar_cli.domain.texts import counted
from bazar_cli.services.imports import via_database
from bazar_cli.services.imports.hashes import hash_passwords
from bazar_cli.services.imports.judge import judge
from bazar_cli.services.users.ids import time_ordered_uuid

if TYPE_CHECKING:
    from bazar_cli.adapters.import_file import ImportFile
    from bazar_cli.adapters.postgres.connections import Connection
    from bazar_cli.adapters.postgres.imports.incoming import Decided
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.gate.gate import Gate

FAILURES_SHOWN = 10


class Results(Protocol):
    """The file of results."""

    def check(self, *, may_exist: bool) -> None:
        """Refuse a file that cannot be written; without `may_exist` also one that exists and may not be replaced."""
        ...

    def write(self, pages: Iterable[Page[RowResult]]) -> None:
        """Write the results of all rows; the file gets its name when it is complete, unless it has these results."""
        ...


@dataclass(frozen=True)
class Command:
    """What one call of the command works with."""

    gate: Gate
    file: ImportFile
    format: FileFormat
    request: ImportUsers
    results: Results | None
    progress: Progress
    notice: Callable[[str], None]


class _StagedMeanwhile(Exception):
    """Another command staged the same file."""


def prepare(command: Command, *, dry_run: bool) -> ImportRun | Imported:
    """Check the file, and stage its rows or find the open run of this file; return that run.

    Returns the outcome for a file without rows, and in a dry run the expected one.
    Raises: UsageError `imports.file_invalid` and Denied `imports.denied`, with all findings; Conflict
    `imports.file_changed`, `imports.options_differ`, `imports.other_operator`, `files.exists` for the results, and as
    `via_database.refuse_unknown_auth`.
    """

    from bazar_cli.adapters.postgres.imports import runs

    def use_case(backends: Backends, grant: Grant, _request: ImportUsers) -> ImportRun | Imported:
        grant.demand(IMPORT)
        if command.request.via is Via.DATABASE:
            via_database.refuse_unknown_auth(backends, grant)
        while True:
            with backends.database().read(grant) as connection:
                found = runs.open_run(connection, command.request.content_hash)
                is_applied = found is not None and Status.OPEN not in runs.counts(connection, found.id)
            if command.results is not None:
                # They are written when no row is open, and an earlier command may have ended right after that.
                command.results.check(may_exist=is_applied)
            if found is not None and not grant.dry_run:
                return _continued(backends, grant, command, found)
            if found is not None:
                command.notice(f"the run {found.id} of this file is open: without --dry-run the command continues it")
            try:
                return _checked_and_staged(backends, grant, command)
            except _StagedMeanwhile:
                continue

    return command.gate.perform(use_case, IMPORT, command.request, dry_run=dry_run)


def _checked_and_staged(backends: Backends, grant: Grant, command: Command) -> ImportRun | Imported:
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.imports import incoming, judged, runs

    findings, rows = Findings(), RowFile(command.file.chunks(), command.format)
    with backends.database().preparation(grant) as (connection, hold):
        incoming.copy(connection, rows.rows(findings), lambda done: command.progress("rows checked", done, None))
        decided = incoming.compare(connection, grant.reach, command.request.on_conflict, findings)
        judge(command.gate, grant, connection, judged.Rows(), findings)
        if findings.count:
            raise findings.error(command.file.named)
        _say_what_is_not_written(command, rows, decided)
        if grant.dry_run or not decided.rows:
            if command.results is not None:
                command.results.write(_pages(runs.expected_results(connection)))
            counts = runs.expected_counts(connection)
            return _outcome(None, decided.rows, counts, runs.failures(connection, None, FAILURES_SHOWN), grant)
        hold({m.id for m in judged.new_memberships(connection, judged.Rows())} & grant.reach.organization_ids)
        run_id, staged = time_ordered_uuid(), not incoming.awaits_hashes(connection)
        columns = _columns(connection, rows)
        if not runs.begin(connection, grant, run_id, command.request, columns, rows=decided.rows, staged=staged):
            raise _StagedMeanwhile
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


def _say_what_is_not_written(command: Command, rows: RowFile, decided: Decided) -> None:
    if rows.ignored:
        command.notice(f"not read: the columns {', '.join(rows.ignored)}")
    if decided.keep_credentials:
        kept = counted(decided.keep_credentials, "row")
        command.notice(f"{kept} of existing users: they keep their password and metadata")


def _continued(backends: Backends, grant: Grant, command: Command, run: ImportRun) -> ImportRun:
    """Return an open run that this command may continue. The rights of its operator may have changed since."""
    from bazar_cli.adapters.postgres.imports import judged, runs

    asked = command.request
    differ = {
        name: f"--{name.replace('_', '-')} {before}"
        for name, before, now in (
            ("via", run.via, asked.via),
            ("on_conflict", run.on_conflict, asked.on_conflict),
        )
        if before is not now
    }
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
            hint=f"run the command again with {' '.join(differ.values())}",
            details={"run_id": str(run.id), "different": sorted(differ)},
        )
    if "id" in run.columns:
        row_rules.may_choose_id(grant)
    findings = Findings()
    with backends.database().read(grant) as connection:
        judge(command.gate, grant, connection, judged.Rows(run.id), findings)
        done = run.rows - runs.counts(connection, run.id).get(Status.OPEN, 0)
    if findings.count:
        raise findings.error(command.file.named)
    command.notice(f"continuing the run {run.id}: {done} of {counted(run.rows, 'row')} done")
    return run


def carry_out(
    command: Command, run: ImportRun, ended: Callable[[], bool], *, concurrency: int | None = None
) -> Imported:
    """Hash what awaits it, apply all open rows, write the results, and finish the run.

    Returns early, with open rows, when the command is to end. Raises: as the parts: run it again.
    """
    from bazar_cli.services.imports import apply

    gate, request = command.gate, command.request
    if run.staged_at is None:
        gate.perform(
            lambda backends, grant, _: hash_passwords(
                backends, grant, run, command.file, command.format, command.progress, ended
            ),
            IMPORT,
            request,
        )
    if not ended():
        apply.apply(gate, run, command.progress, ended, concurrency=concurrency)
    return gate.perform(lambda backends, grant, _: _concluded(backends, grant, command, run), IMPORT, request)


def _concluded(backends: Backends, grant: Grant, command: Command, run: ImportRun) -> Imported:
    """Return the outcome; of a run without open rows write the results first, and finish it then."""
    from bazar_cli.adapters.postgres.imports import runs

    grant.demand(IMPORT)
    with backends.database().read(grant) as connection:
        counts = runs.counts(connection, run.id)
        failures = runs.failures(connection, run.id, FAILURES_SHOWN)
        is_complete = Status.OPEN not in counts
        if Status.UNDONE in counts:
            raise Conflict(
                "imports.undone",
                f"the import {run.id} was undone while this command worked on it",
                hint="run the same command again to import the file once more",
                details={"run_id": str(run.id)},
            )
        if is_complete and command.results is not None:
            command.results.write(_pages(runs.results(connection, run.id)))
    if is_complete:
        with backends.database().transaction(grant) as connection:
            runs.finish(connection, run.id)
    return _outcome(run, run.rows, counts, failures, grant)


def _pages(batches: Iterator[list[RowResult]]) -> Iterator[Page[RowResult]]:
    return (Page(tuple(batch), None) for batch in batches)


def _outcome(
    run: ImportRun | None, rows: int, counts: dict[Status, int], failures: tuple[RowResult, ...], grant: Grant
) -> Imported:
    return Imported(
        run_id=None if run is None else run.id,
        rows=rows,
        created=counts.get(Status.CREATED, 0),
        updated=counts.get(Status.UPDATED, 0),
        unchanged=counts.get(Status.UNCHANGED, 0),
        skipped=counts.get(Status.SKIPPED, 0),
        failed=counts.get(Status.FAILED, 0),
        open=counts.get(Status.OPEN, 0),
        failures=failures,
        dry_run=grant.dry_run,
    )
