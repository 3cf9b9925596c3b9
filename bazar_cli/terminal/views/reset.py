"""How `bazar db reset` is shown."""

from __future__ import annotations

from bazar_cli.domain.db.reset import DatabaseReset
from bazar_cli.domain.texts import counted
from bazar_cli.terminal.views.base import View
from bazar_cli.terminal.views.db import applied_fields, marker_cell, marker_fields, names, pending_fields, times
from bazar_cli.terminal.views.seed import seeded_cell, seeded_fields


def summary(done: DatabaseReset) -> list[tuple[str, str]]:
    """What a reset did, for people who read the summary of a CI job."""
    return [
        ("database", f"{done.place.database} on {done.place.host}, {marker_cell(done.place.marker)}"),
        *((f"{'emptied' if done.in_place else 'dropped'} {t.name}", counted(t.rows, "row")) for t in done.tables),
        *((f"applied {a.revision.id}", f"{a.revision.message} ({a.milliseconds} ms)") for a in done.applied),
        ("superuser", done.superuser),
        *([("identities", f"{done.identities} deleted at Supabase")] if done.identities is not None else []),
        *([("demo data", seeded_cell(done.seeded))] if done.seeded else []),
        ("revision", done.current or "none"),
    ]


RESET: View[DatabaseReset] = View(
    fields={
        "host": lambda r: r.place.host,
        "database": lambda r: r.place.database,
        "marker": lambda r: marker_fields(r.place.marker),
        "previous": lambda r: r.previous,
        "current": lambda r: r.current,
        "head": lambda r: r.head,
        "applied": lambda r: [applied_fields(a) for a in r.applied],
        "pending": lambda r: [pending_fields(p) for p in r.pending],
        "lost_tables": lambda r: [{"table": t.name, "rows": t.rows} for t in r.tables],
        "left_alone": lambda r: list(r.strangers),
        "recreated": lambda r: list(r.foreign_keys),
        "superuser": lambda r: r.superuser,
        "audit": lambda r: None if r.audit is None else {"events": r.audit.events, "head": r.audit.head},
        "identities": lambda r: r.identities,
        "seeded": lambda r: None if r.seeded is None else seeded_fields(r.seeded),
        "waited_ms": lambda r: r.waited_ms,
        "holder": lambda r: r.holder,
    },
    cells={
        "marker": lambda r: marker_cell(r.place.marker),
        "applied": lambda r: times(r.applied),
        "pending": lambda r: names(r.pending),
        "lost_tables": lambda r: " ".join(f"{t.name} ({counted(t.rows, 'row')})" for t in r.tables),
        "left_alone": lambda r: " ".join(r.strangers),
        "recreated": lambda r: ", ".join(r.foreign_keys),
        "audit": lambda r: "" if r.audit is None else f"{r.audit.events} events, head {r.audit.head or 'none'}",
        "seeded": lambda r: "" if r.seeded is None else seeded_cell(r.seeded),
    },
)
