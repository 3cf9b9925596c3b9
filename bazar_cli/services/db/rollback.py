"""`db rollback` and `db redo`: they show the loss, ask, and refuse a protected database."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.consent import Impact, check_consent
from bazar_cli.domain.db import migrations as use_cases
from bazar_cli.domain.db.migrations import (
    MigrationStatus,
    Redo,
    Rollback,
    RolledBack,
    checked_statement_timeout,
    disagreement,
    refuse_protected,
)
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.texts import counted

if TYPE_CHECKING:
    from bazar_cli.services.gate.backends import Backends

Notify = Callable[[str], None]


def rollback(backends: Backends, grant: Grant, request: Rollback, notify: Notify = lambda _text: None) -> RolledBack:
    """Roll back applied revisions.

    Raises: Refused `db.protected`; ConsentNeeded; UsageError `db.steps_and_revision`, `db.steps_invalid`; and see
    `adapters.migrations.reverter`.
    """
    grant.demand(use_cases.ROLLBACK)
    if request.steps is not None and request.to is not None:
        raise UsageError("db.steps_and_revision", "--steps and --to exclude each other", hint="give one of them")
    if request.steps is not None and request.steps < 1:
        raise UsageError("db.steps_invalid", f"--steps {request.steps} rolls nothing back", hint="give 1 or more")
    return _revert(backends, grant, request, notify)


def redo(backends: Backends, grant: Grant, request: Redo, notify: Notify = lambda _text: None) -> RolledBack:
    """Roll the newest applied revision back and apply it again.

    Raises: as `rollback`.
    """
    grant.demand(use_cases.REDO)
    return _revert(backends, grant, request, notify)


def _revert(backends: Backends, grant: Grant, request: Rollback | Redo, notify: Notify) -> RolledBack:
    again = isinstance(request, Redo)
    checked_statement_timeout(request.statement_timeout)

    def check(status: MigrationStatus) -> None:
        refuse_protected(status, "redoing" if again else "rolling back", embedded=backends.target.source.embedded)

    reverter = backends.reverter(grant)
    status = reverter.status()
    check(status)
    if not grant.dry_run:
        reverter.refuse_read_only(status, "nothing is rolled back")
    steps, to = (1, None) if isinstance(request, Redo) else (request.steps, request.to)
    # The SQL to apply it again is only shown: a revision that reads rows has none and can be run.
    seen = reverter.preview(status, reverter.chosen(status, steps, to), again=again and grant.dry_run)
    if not seen.would_revert:
        return seen
    changed = disagreement(status)
    if changed is not None and request.agreed is None:
        # No reason to refuse: rolling back may resolve it.
        notify(f"warning: {changed.message}")
    if grant.dry_run:
        return seen
    check_consent(_impact(seen, request), request.agreed)
    return reverter.revert(seen, check, notify, again=again, statement_timeout=request.statement_timeout)


def consequences(seen: RolledBack, *, again: bool) -> str:
    """Return what the rollback would drop, in sentences."""
    names = ", ".join(f"{r.id} ({r.message})" for r in seen.would_revert)
    verb = "redone" if again else "rolled back"
    texts = [f"{names} of {seen.place.database} on {seen.place.host} would be {verb}"]
    if seen.lost_tables:
        tables = (f"{t.name} (about {counted(t.rows, 'row')})" for t in seen.lost_tables)
        texts.append(f"Tables that would be dropped with their rows: {', '.join(tables)}")
    if seen.lost_columns:
        texts.append(f"Columns that would be dropped: {', '.join(seen.lost_columns)}")
    return ". ".join(texts)


def _impact(seen: RolledBack, request: Rollback | Redo) -> Impact:
    ids = [r.id for r in seen.would_revert]
    again = isinstance(request, Redo)
    timeout = None if request.statement_timeout is None else f"{request.statement_timeout:g}"
    to = None if isinstance(request, Redo) else request.to
    steps = None if again or to is not None else str(len(ids))
    verb = "redo" if again else "rollback"
    return Impact(
        text=consequences(seen, again=again),
        question=f"{'Redo' if again else 'Roll back'} {', '.join(ids)}?",
        command=command_line(f"db {verb}", to=to, steps=steps, statement_timeout=timeout, yes=True),
        subject=(
            seen.place.host,
            seen.place.database,
            str(seen.current),
            *ids,
            *(t.name for t in seen.lost_tables),
            *seen.lost_columns,
        ),
        details={
            "host": seen.place.host,
            "database": seen.place.database,
            "current": seen.current,
            "would_revert": ids,
            "lost_tables": [{"table": t.name, "rows": t.rows} for t in seen.lost_tables],
            "lost_columns": list(seen.lost_columns),
        },
    )
