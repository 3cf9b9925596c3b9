"""Migrations: what is applied, what is pending, what a run did."""

from __future__ import annotations

from bazar_cli.domain.db.migrations import (
    AppliedRevision,
    ChangedRevision,
    Marker,
    Migrated,
    MigrationStatus,
    ReadOnly,
    Revision,
    RolledBack,
    Waited,
)
from bazar_cli.terminal.views.base import Value, View


def _revision(revision: Revision) -> dict[str, Value]:
    return {"revision": revision.id, "message": revision.message}


def pending_fields(revision: Revision) -> dict[str, Value]:
    """A pending revision, for machines."""
    return {**_revision(revision), "transactional": revision.transactional, "destructive": revision.destructive}


def _changed(changed: ChangedRevision) -> dict[str, Value]:
    both: dict[str, Value] = {"applied_checksum": changed.applied_checksum, "checksum": changed.revision.checksum}
    return {**_revision(changed.revision), **both}


def applied_fields(applied: AppliedRevision) -> dict[str, Value]:
    """A revision that was applied, for machines."""
    return {**_revision(applied.revision), "duration_ms": applied.milliseconds, "retries": applied.retries}


def marker_fields(marker: Marker | None) -> dict[str, Value] | None:
    """The marker of a database, for machines."""
    return None if marker is None else {"environment": marker.environment, "protected": marker.protected}


def marker_cell(marker: Marker | None) -> str:
    """The same in a table."""
    if marker is None:
        return "no marker"
    return f"{marker.environment}, {'protected' if marker.protected else 'unprotected'}"


def _read_only(found: ReadOnly | None) -> dict[str, Value] | None:
    return None if found is None else {"reason": found.reason, "set": found.place}


def names(revisions: tuple[Revision, ...]) -> str:
    """Revisions in a table."""
    return " ".join(f"{r.id} ({r.message})" for r in revisions)


def _steps(revisions: tuple[Revision, ...]) -> str:
    return " ".join(f"{r.id} ({r.message}{', destructive' * bool(r.destructive)})" for r in revisions)


def times(applied: tuple[AppliedRevision, ...]) -> str:
    """Applied revisions in a table."""
    return " ".join(f"{a.revision.id} ({a.milliseconds} ms)" for a in applied)


def summary(done: Migrated | RolledBack) -> list[tuple[str, str]]:
    """What a run did, for people who read the summary of a CI job."""
    reverted = done.reverted if isinstance(done, RolledBack) else ()
    return [
        ("database", f"{done.place.database} on {done.place.host}, {marker_cell(done.place.marker)}"),
        *((f"rolled back {r.revision.id}", f"{r.revision.message} ({r.milliseconds} ms)") for r in reverted),
        *((f"applied {a.revision.id}", f"{a.revision.message} ({a.milliseconds} ms)") for a in done.applied),
        *((f"pending {p.id}", p.message) for p in done.pending),
        ("revision", done.current or "none"),
    ]


STATUS: View[MigrationStatus] = View(
    fields={
        "host": lambda s: s.place.host,
        "database": lambda s: s.place.database,
        "server_version": lambda s: s.place.server_version,
        "marker": lambda s: marker_fields(s.place.marker),
        "current": lambda s: s.current,
        "head": lambda s: s.head,
        "applied": lambda s: [_revision(r) for r in s.applied],
        "pending": lambda s: [pending_fields(r) for r in s.pending],
        "unknown_revision": lambda s: s.unknown,
        "changed": lambda s: [_changed(c) for c in s.changed],
        "read_only": lambda s: _read_only(s.read_only),
    },
    cells={
        "marker": lambda s: marker_cell(s.place.marker),
        "applied": lambda s: names(s.applied),
        "pending": lambda s: _steps(s.pending),
        "changed": lambda s: names(tuple(c.revision for c in s.changed)),
        "read_only": lambda s: s.read_only.text if s.read_only else "no",
    },
)
MIGRATED: View[Migrated] = View(
    fields={
        "host": lambda m: m.place.host,
        "database": lambda m: m.place.database,
        "marker": lambda m: marker_fields(m.place.marker),
        "current": lambda m: m.current,
        "head": lambda m: m.head,
        "applied": lambda m: [applied_fields(a) for a in m.applied],
        "would_apply": lambda m: None if m.would_apply is None else [pending_fields(r) for r in m.would_apply],
        "pending": lambda m: [pending_fields(r) for r in m.pending],
        "waited_ms": lambda m: m.waited_ms,
        "holder": lambda m: m.holder,
        "sql": lambda m: m.sql,
    },
    optional=frozenset({"would_apply", "sql"}),
    cells={
        "marker": lambda m: marker_cell(m.place.marker),
        "applied": lambda m: times(m.applied),
        "would_apply": lambda m: _steps(m.would_apply or ()),
        "pending": lambda m: _steps(m.pending),
    },
    raw=lambda m: m.sql,
)
ROLLED_BACK: View[RolledBack] = View(
    fields={
        "host": lambda r: r.place.host,
        "database": lambda r: r.place.database,
        "marker": lambda r: marker_fields(r.place.marker),
        "current": lambda r: r.current,
        "head": lambda r: r.head,
        "reverted": lambda r: [applied_fields(a) for a in r.reverted],
        "applied": lambda r: [applied_fields(a) for a in r.applied],
        "would_revert": lambda r: [pending_fields(v) for v in r.would_revert],
        "would_apply": lambda r: [pending_fields(v) for v in r.would_apply],
        "pending": lambda r: [pending_fields(v) for v in r.pending],
        "lost_tables": lambda r: [{"table": t.name, "rows": t.rows} for t in r.lost_tables],
        "lost_columns": lambda r: list(r.lost_columns),
        "waited_ms": lambda r: r.waited_ms,
        "holder": lambda r: r.holder,
        "sql": lambda r: r.sql,
    },
    optional=frozenset({"sql"}),
    cells={
        "marker": lambda r: marker_cell(r.place.marker),
        "reverted": lambda r: times(r.reverted),
        "applied": lambda r: times(r.applied),
        "would_revert": lambda r: _steps(r.would_revert),
        "would_apply": lambda r: _steps(r.would_apply),
        "pending": lambda r: _steps(r.pending),
        "lost_tables": lambda r: " ".join(f"{t.name} (about {t.rows} rows)" for t in r.lost_tables),
        "lost_columns": lambda r: " ".join(r.lost_columns),
    },
    raw=lambda r: r.sql,
)
WAITED: View[Waited] = View(
    fields={
        "host": lambda w: w.place.host,
        "database": lambda w: w.place.database,
        "server_version": lambda w: w.place.server_version,
        "waited_ms": lambda w: w.milliseconds,
    },
)
