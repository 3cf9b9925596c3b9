"""Settings, places, profiles and the doctor's checks."""

from __future__ import annotations

from bazar_cli.domain.config import Place, Profile, Setting
from bazar_cli.domain.doctor import Affected, Check
from bazar_cli.terminal.views.base import View

SETTING: View[Setting] = View(
    fields={"name": lambda s: s.name, "value": lambda s: s.value, "source": lambda s: s.source},
    identifier=lambda s: s.name,
)
PLACE: View[Place] = View(
    fields={"name": lambda p: p.name, "path": lambda p: p.path, "exists": lambda p: p.exists},
    identifier=lambda p: p.path or "",
)
PROFILE: View[Profile] = View(
    fields={
        "name": lambda p: p.name,
        "active": lambda p: p.active,
        "supabase_url": lambda p: p.supabase_url,
        "superuser_email": lambda p: p.superuser_email,
        "signed_in": lambda p: p.signed_in,
    },
    identifier=lambda p: p.name,
)
CHECK: View[Check] = View(
    fields={
        "check": lambda c: c.name,
        "status": lambda c: c.status.value,
        "detail": lambda c: c.detail,
        "remedy": lambda c: c.remedy or None,
        "count": lambda c: c.count,
        "rows": lambda c: [_row(r) for r in c.rows],
    },
    table=("check", "status", "detail", "remedy"),
    identifier=lambda c: c.name,
    cells={"rows": lambda c: ";".join(r.label for r in c.rows)},
)


def _row(row: Affected) -> dict[str, str | None]:
    return {
        "id": str(row.id) if row.id else None,
        "email": row.email or None,
        "name": row.name or None,
        "note": row.note or None,
    }
