"""How imports are shown."""

from __future__ import annotations

from bazar_cli.domain.imports.imports import CountedRun, Imported, KeptUser, RowResult, Status, UndoneImport
from bazar_cli.terminal.views.base import View

ROW = View(RowResult, table=("line", "email", "status", "code", "message"), identifier="id")
"""One row of a file."""


def _failure_lines(failures: tuple[RowResult, ...]) -> tuple[str, ...]:
    return tuple(f"line {row.line}: {row.message}" for row in failures)


IMPORTED = View(
    Imported,
    identifier="run_id",
    cells={"failures": lambda failures: "; ".join(_failure_lines(failures))},
    lines={"failures": _failure_lines},
)


def _kept_lines(kept: tuple[KeptUser, ...]) -> tuple[str, ...]:
    return tuple(f"line {user.line}: {user.message}" for user in kept)


UNDONE = View(
    UndoneImport,
    identifier="run_id",
    cells={"reasons": lambda kept: "; ".join(_kept_lines(kept))},
    lines={"reasons": _kept_lines},
)

RUN = View(
    CountedRun,
    paths=("run.id", "run.started_at", "run.operator_email", "run.via", "run.on_conflict", "run.rows"),
    computed={
        **{status.value: (lambda counted, s=status: counted.counts.get(s, 0)) for status in Status},
        "columns": lambda counted: counted.run.columns,
        "staged_at": lambda counted: counted.run.staged_at,
        "finished_at": lambda counted: counted.run.finished_at,
        "undone_at": lambda counted: counted.run.undone_at,
    },
    table=(
        *("id", "started_at", "finished_at", "operator_email", "rows", "created", "updated", "unchanged", "failed"),
        *("undone", "open"),
    ),
    identifier="run.id",
)
"""A run of an import."""
