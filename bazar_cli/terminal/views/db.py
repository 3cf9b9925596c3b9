"""Views of migrations: applied revisions, pending revisions, the results of a run."""

from __future__ import annotations

from bazar_cli.domain.db.migrations import (
    AppliedRevision,
    ChangedRevision,
    LostTable,
    Marker,
    Migrated,
    MigrationStatus,
    ReadOnly,
    Revision,
    RolledBack,
    Waited,
)
from bazar_cli.terminal.views.base import Texts, View
from bazar_cli.terminal.views.encoding import shape, within

_ID = {"revision.id": "revision"}
ENCODERS = {
    Revision: shape(Revision, paths=("id", "message", "transactional", "destructive"), renamed={"id": "revision"}),
    AppliedRevision: shape(
        AppliedRevision,
        paths=("revision.id", "revision.message", "milliseconds", "retries"),
        renamed={**_ID, "milliseconds": "duration_ms"},
    ),
    ChangedRevision: shape(
        ChangedRevision, paths=("revision.id", "revision.message", "applied_checksum", "revision.checksum"), renamed=_ID
    ),
    ReadOnly: shape(ReadOnly, paths=("reason", "place"), renamed={"place": "set"}),
    LostTable: shape(LostTable, renamed={"name": "table"}),
}
"""The parts of migration results, whose JSON differs from their fields."""


def marker_cell(marker: Marker | None) -> str:
    """Return the marker of a database as tables show it."""
    if marker is None:
        return "no marker"
    return f"{marker.environment}, {'protected' if marker.protected else 'unprotected'}"


def names(revisions: tuple[Revision, ...]) -> str:
    """Return revisions as tables show them."""
    return " ".join(f"{r.id} ({r.message})" for r in revisions)


def _pending_cell(revisions: tuple[Revision, ...] | None) -> str:
    return " ".join(f"{r.id} ({r.message}{', destructive' * bool(r.destructive)})" for r in revisions or ())


def times(applied: tuple[AppliedRevision, ...]) -> str:
    """Return applied revisions as tables show them."""
    return " ".join(f"{a.revision.id} ({a.milliseconds} ms)" for a in applied)


def summary(done: Migrated | RolledBack) -> list[tuple[str, str]]:
    """Return what a run did, for the summary of a CI job."""
    reverted = done.reverted if isinstance(done, RolledBack) else ()
    return [
        ("database", f"{done.place.database} on {done.place.host}, {marker_cell(done.place.marker)}"),
        *((f"rolled back {r.revision.id}", f"{r.revision.message} ({r.milliseconds} ms)") for r in reverted),
        *((f"applied {a.revision.id}", f"{a.revision.message} ({a.milliseconds} ms)") for a in done.applied),
        *((f"pending {p.id}", p.message) for p in done.pending),
        ("revision", done.current or "none"),
    ]


_PLACE = ("place.host", "place.database", "place.marker")
_CELLS: Texts = {
    "marker": marker_cell,
    "applied": times,
    "reverted": times,
    "pending": _pending_cell,
    "would_apply": _pending_cell,
    "would_revert": _pending_cell,
    "lost_tables": lambda tables: " ".join(f"{t.name} (about {t.rows} rows)" for t in tables),
    "lost_columns": " ".join,
}

STATUS = View(
    MigrationStatus,
    paths=(
        *("place.host", "place.database", "place.server_version", "place.marker"),
        *("current", "head", "applied", "pending", "unknown", "changed", "read_only"),
    ),
    renamed={"unknown": "unknown_revision"},
    computed={"applied": lambda s: [{"revision": r.id, "message": r.message} for r in s.applied]},
    encoders=ENCODERS,
    cells={
        "marker": marker_cell,
        "applied": lambda applied: " ".join(f"{r['revision']} ({r['message']})" for r in applied),
        "pending": _pending_cell,
        "changed": lambda changed: names(tuple(c.revision for c in changed)),
        "read_only": lambda read_only: read_only.text if read_only else "no",
    },
)
MIGRATED = View(
    Migrated,
    paths=(*_PLACE, "current", "head", "applied", "would_apply", "pending", "waited_ms", "holder", "sql"),
    encoders=ENCODERS,
    optional=frozenset({"would_apply", "sql"}),
    cells=_CELLS,
    raw=lambda m: m.sql,
)
ROLLED_BACK = View(
    RolledBack,
    paths=(*_PLACE, *within("", RolledBack)[1:]),
    encoders=ENCODERS,
    optional=frozenset({"sql"}),
    cells=_CELLS,
    raw=lambda r: r.sql,
)
WAITED = View(
    Waited,
    paths=("place.host", "place.database", "place.server_version", "milliseconds"),
    renamed={"milliseconds": "waited_ms"},
)
