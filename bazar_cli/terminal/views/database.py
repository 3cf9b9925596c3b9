"""How the database itself is shown: its revision, its marker, the sessions that hold its locks."""

from __future__ import annotations

from bazar_cli.domain.db.create_and_drop import CreatedDatabase, DroppedDatabase
from bazar_cli.domain.db.locks import LockSession
from bazar_cli.domain.db.marker import DatabaseMarker
from bazar_cli.domain.db.migrations import CurrentRevision
from bazar_cli.terminal.views.base import View, created_cell

CURRENT_REVISION = View(
    CurrentRevision,
    identifier="revision",
    raw=lambda c: f"{c.revision} (head)" if c.is_head else c.revision or "",
)
MARKER = View(DatabaseMarker, identifier="id")
SESSION = View(
    LockSession,
    renamed={"migrating": "migration_lock", "started_at": "connected_at"},
    table=("pid", "application", "user", "state", "age_seconds", "migration_lock", "blocked_by", "query"),
    identifier="pid",
)
CREATED = View(
    CreatedDatabase,
    paths=("host", "database", "created"),
    columns={"created": lambda c: created_cell(created=c.created, planned=c.planned)},
    identifier="database",
)
DROPPED = View(DroppedDatabase, identifier="database")
