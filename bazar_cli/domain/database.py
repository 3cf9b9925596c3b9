"""Use cases on the database itself: its revision and marker, who holds what, and that it is there at all."""

from __future__ import annotations

from dataclasses import dataclass

from bazar_cli.domain.access import Scope, requires
from bazar_cli.domain.permissions import Permission

CURRENT = requires("db.current", Permission.DB_READ, scope=Scope.PLATFORM, bootstrap=True)


@dataclass(frozen=True)
class GetCurrent:
    """What `db current` was asked."""


@dataclass(frozen=True)
class CurrentRevision:
    """The revision that a database is at; None for one without tables."""

    revision: str | None
    is_head: bool
