"""The database itself: its revision, its marker, and that it is there at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bazar_cli.domain import database as use_cases
from bazar_cli.domain.access import Grant
from bazar_cli.domain.database import CurrentRevision, GetCurrent

if TYPE_CHECKING:
    from bazar_cli.services.system import System


def current(system: System, grant: Grant, _request: GetCurrent) -> CurrentRevision:
    """Return the revision that the database is at."""
    grant.demand(use_cases.CURRENT)
    status = system.migrator(grant).status()
    return CurrentRevision(status.current, status.current == status.head)
