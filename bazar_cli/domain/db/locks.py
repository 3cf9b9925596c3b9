"""The sessions that hold or await locks on bazar's tables, and ending one of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import FieldRule, Scope, requires
from bazar_cli.domain.consent import Impact

LOCKS = requires(
    "db.locks",
    Permission.DB_READ,
    scope=Scope.PLATFORM,
    writes=True,
    fields=MappingProxyType({"terminate": FieldRule(permission=Permission.DB_RESET)}),
)
_QUERY_LENGTH = 120


@dataclass(frozen=True)
class ShowLocks:
    """The request of `db locks`: with `terminate`, to end that session."""

    terminate: int | None = None
    agreed: Impact | None = None


@dataclass(frozen=True)
class LockSession:
    """A session that holds or awaits the migration lock, or a lock on one of bazar's tables.

    Fields that Postgres hides from the role of the connection are None.
    """

    pid: int
    application: str | None
    user: str | None
    state: str | None
    age_seconds: int | None
    """Since its transaction began, or else its connection."""
    migrating: bool
    """True if it holds the migration lock."""
    tables: tuple[str, ...]
    """The tables of bazar that it has locked or waits for."""
    blocked_by: tuple[int, ...]
    query: str | None
    """Shortened, without literals."""
    started_at: datetime | None
    """The time of its connection. With `pid` it identifies the session."""

    @property
    def text(self) -> str:
        """The session in a few words."""
        return f"pid {self.pid} ({self.application or 'no name'}, user {self.user or 'unknown'})"


# Postgres cuts queries off, and the meaning of a backslash depends on a setting. If the end of a literal or comment is
# not certain, the rest of the query counts as part of it.
_TOKEN = re.compile(
    r"""
    (?P<literal>
        \$(?P<tag>(?:[^\W\d]\w*)?)\$ .*? (?: \$(?P=tag)\$ | \Z )
      | [eE]'(?:[^'\\]|''|\\.)*'
      | '(?:[^'\\]|''|\\(?!'))*'
      | [eE]?'.*
    )
  | (?P<comment> --[^\n]* | /\*(?:(?!/\*|\*/).)*\*/ | /\*.* )
  | (?P<kept> "(?:[^"]|"")*(?:"|\Z) | \$\d+ | [^\W\d][\w$]* )
  | (?P<number> \d[\w.]* )
    """,
    re.X | re.S,
)


def without_literals(query: str) -> str:
    """Return a statement in one short line, with `?` for every literal and without comments."""

    def shown(match: re.Match[str]) -> str:
        if match["kept"] is not None:
            return match["kept"]
        return " " if match["comment"] is not None else "?"

    line = " ".join(_TOKEN.sub(shown, query).split())
    return line if len(line) <= _QUERY_LENGTH else f"{line[: _QUERY_LENGTH - 1]}…"
