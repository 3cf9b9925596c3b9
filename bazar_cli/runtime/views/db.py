"""Migrations: what is applied, what is pending, what a run did."""

from __future__ import annotations

from bazar_cli.domain.db import (
    AppliedRevision,
    ChangedRevision,
    Marker,
    Migrated,
    MigrationStatus,
    Revision,
    RolledBack,
    Waited,
)
from bazar_cli.domain.reset import DatabaseReset
from bazar_cli.runtime.views.base import Value, View
from bazar_cli.runtime.views.seed import seeded_cell, seeded_fields


def _revision(revision: Revision) -> dict[str, Value]:
    return {"revision": revision.id, "message": revision.message}


def _pending(revision: Revision) -> dict[str, Value]:
    return {**_revision(revision), "transactional": revision.transactional, "destructive": revision.destructive}


def _changed(changed: ChangedRevision) -> dict[str, Value]:
    both: dict[str, Value] = {"applied_checksum": changed.applied_checksum, "checksum": changed.revision.checksum}
    return {**_revision(changed.revision), **both}


def _applied(applied: AppliedRevision) -> dict[str, Value]:
    return {**_revision(applied.revision), "duration_ms": applied.milliseconds, "retries": applied.retries}


def _marker(marker: Marker | None) -> dict[str, Value] | None:
    return None if marker is None else {"environment": marker.environment, "protected": marker.protected}


def _marker_cell(marker: Marker | None) -> str:
    if marker is None:
        return "no marker"
    return f"{marker.environment}, {'protected' if marker.protected else 'unprotected'}"


def _names(revisions: tuple[Revision, ...]) -> str:
    return " ".join(f"{r.id} ({r.message})" for r in revisions)


def _steps(revisions: tuple[Revision, ...]) -> str:
    return " ".join(f"{r.id} ({r.message}{', destructive' * bool(r.destructive)})" for r in revisions)


def _times(applied: tuple[AppliedRevision, ...]) -> str:
    return " ".join(f"{a.revision.id} ({a.milliseconds} ms)" for a in applied)


def reset_summary(done: DatabaseReset) -> list[tuple[str, str]]:
    """The same of a reset."""
    return [
        ("database", f"{done.place.database} on {done.place.host}, {_marker_cell(done.place.marker)}"),
        *((f"dropped {t.name}", f"{t.rows} rows") for t in done.tables),
        *((f"applied {a.revision.id}", f"{a.revision.message} ({a.milliseconds} ms)") for a in done.applied),
        ("superuser", done.superuser),
        *([("identities", f"{done.identities} deleted at Supabase")] if done.identities is not None else []),
        *([("demo data", seeded_cell(done.seeded))] if done.seeded else []),
        ("revision", done.current or "none"),
    ]


def summary(done: Migrated | RolledBack) -> list[tuple[str, str]]:
    """What a run did, for people who read the summary of a CI job."""
    reverted = done.reverted if isinstance(done, RolledBack) else ()
    return [
        ("database", f"{done.place.database} on {done.place.host}, {_marker_cell(done.place.marker)}"),
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
        "marker": lambda s: _marker(s.place.marker),
        "current": lambda s: s.current,
        "head": lambda s: s.head,
        "applied": lambda s: [_revision(r) for r in s.applied],
        "pending": lambda s: [_pending(r) for r in s.pending],
        "unknown_revision": lambda s: s.unknown,
        "changed": lambda s: [_changed(c) for c in s.changed],
    },
    cells={
        "marker": lambda s: _marker_cell(s.place.marker),
        "applied": lambda s: _names(s.applied),
        "pending": lambda s: _steps(s.pending),
        "changed": lambda s: _names(tuple(c.revision for c in s.changed)),
    },
)
MIGRATED: View[Migrated] = View(
    fields={
        "host": lambda m: m.place.host,
        "database": lambda m: m.place.database,
        "marker": lambda m: _marker(m.place.marker),
        "current": lambda m: m.current,
        "head": lambda m: m.head,
        "applied": lambda m: [_applied(a) for a in m.applied],
        "would_apply": lambda m: None if m.would_apply is None else [_pending(r) for r in m.would_apply],
        "pending": lambda m: [_pending(r) for r in m.pending],
        "waited_ms": lambda m: m.waited_ms,
        "holder": lambda m: m.holder,
        "sql": lambda m: m.sql,
    },
    optional=frozenset({"would_apply", "sql"}),
    cells={
        "marker": lambda m: _marker_cell(m.place.marker),
        "applied": lambda m: _times(m.applied),
        "would_apply": lambda m: _steps(m.would_apply or ()),
        "pending": lambda m: _steps(m.pending),
    },
    raw=lambda m: m.sql,
)
ROLLED_BACK: View[RolledBack] = View(
    fields={
        "host": lambda r: r.place.host,
        "database": lambda r: r.place.database,
        "marker": lambda r: _marker(r.place.marker),
        "current": lambda r: r.current,
        "head": lambda r: r.head,
        "reverted": lambda r: [_applied(a) for a in r.reverted],
        "applied": lambda r: [_applied(a) for a in r.applied],
        "would_revert": lambda r: [_pending(v) for v in r.would_revert],
        "would_apply": lambda r: [_pending(v) for v in r.would_apply],
        "pending": lambda r: [_pending(v) for v in r.pending],
        "lost_tables": lambda r: [{"table": t.name, "rows": t.rows} for t in r.lost_tables],
        "lost_columns": lambda r: list(r.lost_columns),
        "waited_ms": lambda r: r.waited_ms,
        "holder": lambda r: r.holder,
        "sql": lambda r: r.sql,
    },
    optional=frozenset({"sql"}),
    cells={
        "marker": lambda r: _marker_cell(r.place.marker),
        "reverted": lambda r: _times(r.reverted),
        "applied": lambda r: _times(r.applied),
        "would_revert": lambda r: _steps(r.would_revert),
        "would_apply": lambda r: _steps(r.would_apply),
        "pending": lambda r: _steps(r.pending),
        "lost_tables": lambda r: " ".join(f"{t.name} (about {t.rows} rows)" for t in r.lost_tables),
        "lost_columns": lambda r: " ".join(r.lost_columns),
    },
    raw=lambda r: r.sql,
)
RESET: View[DatabaseReset] = View(
    fields={
        "host": lambda r: r.place.host,
        "database": lambda r: r.place.database,
        "marker": lambda r: _marker(r.place.marker),
        "previous": lambda r: r.previous,
        "current": lambda r: r.current,
        "head": lambda r: r.head,
        "applied": lambda r: [_applied(a) for a in r.applied],
        "pending": lambda r: [_pending(p) for p in r.pending],
        "lost_tables": lambda r: [{"table": t.name, "rows": t.rows} for t in r.tables],
        "left_alone": lambda r: list(r.strangers),
        "recreated": lambda r: list(r.dependents),
        "superuser": lambda r: r.superuser,
        "audit": lambda r: None if r.audit is None else {"events": r.audit.events, "head": r.audit.head},
        "identities": lambda r: r.identities,
        "seeded": lambda r: None if r.seeded is None else seeded_fields(r.seeded),
        "waited_ms": lambda r: r.waited_ms,
        "holder": lambda r: r.holder,
    },
    cells={
        "marker": lambda r: _marker_cell(r.place.marker),
        "applied": lambda r: _times(r.applied),
        "pending": lambda r: _names(r.pending),
        "lost_tables": lambda r: " ".join(f"{t.name} ({t.rows} rows)" for t in r.tables),
        "left_alone": lambda r: " ".join(r.strangers),
        "recreated": lambda r: ", ".join(r.dependents),
        "audit": lambda r: "" if r.audit is None else f"{r.audit.events} events, head {r.audit.head or 'none'}",
        "seeded": lambda r: "" if r.seeded is None else seeded_cell(r.seeded),
    },
)
WAITED: View[Waited] = View(
    fields={
        "host": lambda w: w.place.host,
        "database": lambda w: w.place.database,
        "server_version": lambda w: w.place.server_version,
        "waited_ms": lambda w: w.milliseconds,
    },
)
