"""The outcome of an import and the file of its results, of a run or of rows that were only decided."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.errors import Conflict
from bazar_cli.domain.imports.imports import IMPORT, Imported, ImportRun, RowResult, Status
from bazar_cli.domain.page import Page

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.connections import Connection
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.imports.request import Command

FAILURES_SHOWN = 10


def expected(connection: Connection, grant: Grant, command: Command, rows: int) -> Imported:
    """Return the expected outcome of the decided rows of this transaction, after its results were written."""
    from bazar_cli.adapters.postgres.imports import runs

    if command.results is not None:
        command.results.write(lambda: _pages(runs.expected_results(connection)))
    failures = runs.failures(connection, None, FAILURES_SHOWN)
    return _outcome(None, rows, runs.expected_counts(connection), failures, grant)


def concluded(backends: Backends, grant: Grant, command: Command, run: ImportRun) -> Imported:
    """Return the outcome of a run after its results were written; finish a run without open rows.

    Raises: Conflict `imports.undone`.
    """
    from bazar_cli.adapters.postgres.imports import runs

    grant.demand(IMPORT)
    with backends.database().read(grant) as connection:
        counts = runs.counts(connection, run.id)
        if Status.UNDONE in counts:
            raise Conflict(
                "imports.undone",
                f"the import {run.id} was undone while this command worked on it",
                hint="run the same command again to import the file once more",
                details={"run_id": str(run.id)},
            )
        failures = runs.failures(connection, run.id, FAILURES_SHOWN)
        if command.results is not None:
            command.results.write(lambda: pages(connection, run))
    if Status.OPEN not in counts:
        with backends.database().transaction(grant) as connection:
            runs.finish(connection, run.id)
    return _outcome(run, run.rows, counts, failures, grant)


def pages(connection: Connection, run: ImportRun) -> Iterator[Page[RowResult]]:
    """Yield the results of all rows of a run by line."""
    from bazar_cli.adapters.postgres.imports import runs

    return _pages(runs.results(connection, run.id))


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
