"""How settings, places, profiles and the doctor's checks are shown."""

from __future__ import annotations

from bazar_cli.domain.config import Place, Profile, Setting
from bazar_cli.domain.doctor import Affected, Check
from bazar_cli.terminal.views.base import View
from bazar_cli.terminal.views.encoding import shape

SETTING = View(Setting, identifier="name")
PLACE = View(Place, identifier=lambda p: p.path or "")
PROFILE = View(Profile, identifier="name")
CHECK = View(
    Check,
    renamed={"name": "check"},
    computed={"remedy": lambda c: c.remedy or None},
    encoders={
        Affected: shape(
            Affected,
            paths=("id", "email", "name", "note"),
            computed={
                "email": lambda a: a.email or None,
                "name": lambda a: a.name or None,
                "note": lambda a: a.note or None,
            },
        )
    },
    table=("check", "status", "detail", "remedy"),
    identifier="name",
    cells={"rows": lambda rows: ";".join(r.label for r in rows)},
)
