"""The database itself: its revision, its marker, who holds what in it."""

from __future__ import annotations

from bazar_cli.domain.database import CurrentRevision
from bazar_cli.runtime.views.base import View

CURRENT_REVISION: View[CurrentRevision] = View(
    fields={"revision": lambda c: c.revision, "is_head": lambda c: c.is_head},
    identifier=lambda c: c.revision,
    raw=lambda c: f"{c.revision} (head)" if c.is_head else c.revision or "",
)
