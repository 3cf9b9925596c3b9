"""What Postgres, a pooler or libpq said of an error: its own words, without the parameters of a statement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError

_OF_ROWS = ("23", "44")
"""Classes whose DETAIL quotes a row, perhaps one that the operator may not see: it is left out."""


@dataclass(frozen=True)
class Said:
    """What was said of an error."""

    sqlstate: str | None
    message: str
    detail: str = ""
    hint: str = ""
    context: str = ""
    """The functions in which it arose, the innermost first."""
    remedy: str = ""
    """What we know to help against just this."""

    @property
    def text(self) -> str:
        """The message and, unless it quotes a row, the DETAIL."""
        detail = "" if (self.sqlstate or "").startswith(_OF_ROWS) else self.detail
        return f"{self.message} ({detail.rstrip('.')})" if detail else self.message

    @property
    def was_raised(self) -> bool:
        """Whether a function raised it on purpose, under whatever SQLSTATE it chose."""
        return self._innermost.endswith("RAISE")

    @property
    def is_of_others(self) -> bool:
        """Whether it was raised on purpose, or arose in a function, as that of a trigger, which is not bazar's."""
        return "SQL" in self._innermost and ("bazar." not in self._innermost or self.was_raised)

    @property
    def _innermost(self) -> str:
        return self.context.partition("\n")[0]

    def advice(self, ours: str) -> str:
        """Return the server's HINT, where it has one, and the remedy, which is `ours` where none is known."""
        return "; ".join(filter(None, (self.hint.rstrip("."), self.remedy or ours)))


def said_by(error: DBAPIError | psycopg.Error) -> Said:
    """Return what was said of an error; Postgres and libpq never put a password in it."""
    cause = error if isinstance(error, psycopg.Error) else error.orig
    sqlstate = getattr(cause, "sqlstate", None)
    if not isinstance(cause, psycopg.Error) or cause.diag.message_primary is None:
        lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
        return Said(sqlstate, lines[0] if lines else type(cause).__name__)
    diag = cause.diag
    texts = (diag.message_primary, diag.message_detail, diag.message_hint)
    message, detail, hint = ("; ".join((text or "").splitlines()) for text in texts)
    return Said(sqlstate, message, detail, hint, diag.context or "")
