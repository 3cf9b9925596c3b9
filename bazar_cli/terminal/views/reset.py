"""How `bazar db reset` is shown."""

from __future__ import annotations

from bazar_cli.domain.db.reset import DatabaseReset
from bazar_cli.domain.texts import counted
from bazar_cli.terminal.views.base import View
from bazar_cli.terminal.views.db import ENCODERS, marker_cell, names, times
from bazar_cli.terminal.views.seed import SEEDED_PARTS, seeded_cell


def summary(done: DatabaseReset) -> list[tuple[str, str]]:
    """Return what a reset did, for the summary of a CI job."""
    return [
        ("database", f"{done.place.database} on {done.place.host}, {marker_cell(done.place.marker)}"),
        *((f"{'emptied' if done.in_place else 'dropped'} {t.name}", counted(t.rows, "row")) for t in done.tables),
        *((f"applied {a.revision.id}", f"{a.revision.message} ({a.milliseconds} ms)") for a in done.applied),
        ("superuser", done.superuser),
        *([("identities", f"{done.identities} deleted at Supabase")] if done.identities is not None else []),
        *([("demo data", seeded_cell(done.seeded))] if done.seeded else []),
        ("revision", done.current or "none"),
    ]


RESET = View(
    DatabaseReset,
    paths=(
        *("place.host", "place.database", "place.marker", "previous", "current", "head", "applied", "pending"),
        *("tables", "strangers", "foreign_keys", "superuser", "audit", "identities", "seeded", "waited_ms", "holder"),
    ),
    renamed={"tables": "lost_tables", "strangers": "left_alone", "foreign_keys": "recreated"},
    encoders={**ENCODERS, **SEEDED_PARTS},
    cells={
        "marker": marker_cell,
        "applied": times,
        "pending": names,
        "lost_tables": lambda tables: " ".join(f"{t.name} ({counted(t.rows, 'row')})" for t in tables),
        "left_alone": " ".join,
        "recreated": ", ".join,
        "audit": lambda audit: f"{audit.events} events, head {audit.head or 'none'}" if audit else "",
        "seeded": lambda seeded: seeded_cell(seeded) if seeded else "",
    },
)
