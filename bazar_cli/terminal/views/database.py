"""The database itself: its revision, its marker, who holds what in it."""

from __future__ import annotations

from bazar_cli.domain.db.create_and_drop import CreatedDatabase, DroppedDatabase
from bazar_cli.domain.db.locks import LockSession
from bazar_cli.domain.db.marker import DatabaseMarker
from bazar_cli.domain.db.migrations import CurrentRevision
from bazar_cli.terminal.views.base import View, created_cell, rfc3339

CURRENT_REVISION: View[CurrentRevision] = View(
    fields={"revision": lambda c: c.revision, "is_head": lambda c: c.is_head},
    identifier=lambda c: c.revision,
    raw=lambda c: f"{c.revision} (head)" if c.is_head else c.revision or "",
)
MARKER: View[DatabaseMarker] = View(
    fields={
        "id": lambda m: str(m.id),
        "database": lambda m: m.database,
        "environment": lambda m: m.environment,
        "protected": lambda m: m.protected,
        "created_at": lambda m: rfc3339(m.created_at),
    },
    identifier=lambda m: str(m.id),
)
SESSION: View[LockSession] = View(
    fields={
        "pid": lambda s: s.pid,
        "application": lambda s: s.application,
        "user": lambda s: s.user,
        "state": lambda s: s.state,
        "age_seconds": lambda s: s.age_seconds,
        "migration_lock": lambda s: s.migrating,
        "tables": lambda s: list(s.tables),
        "blocked_by": lambda s: list(s.blocked_by),
        "query": lambda s: s.query,
        "connected_at": lambda s: rfc3339(s.started_at),
    },
    table=("pid", "application", "user", "state", "age_seconds", "migration_lock", "blocked_by", "query"),
    identifier=lambda s: str(s.pid),
)
CREATED: View[CreatedDatabase] = View(
    fields={"host": lambda c: c.host, "database": lambda c: c.database, "created": lambda c: c.created},
    identifier=lambda c: c.database,
    shown={"created": lambda c: created_cell(created=c.created, planned=c.planned)},
)
DROPPED: View[DroppedDatabase] = View(
    fields={"host": lambda d: d.host, "database": lambda d: d.database, "environment": lambda d: d.environment},
    identifier=lambda d: d.database,
)
