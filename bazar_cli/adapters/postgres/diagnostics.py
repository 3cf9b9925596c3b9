"""The texts of an error as Postgres, a pooler or libpq sent them, without the parameters of a statement."""

from __future__ import annotations

import re
from dataclasses import dataclass

import psycopg

from bazar_cli.domain.texts import plain_reason

_OF_ROWS = ("23", "44")
"""Classes whose DETAIL quotes a row, perhaps one that the operator may not see: it is left out."""

_FUNCTION = re.compile(r"""^(?:in )?(?:PL/\w+|SQL) function "?([^\s"(]+)""", re.MULTILINE)
"""A line of a context that names a function, in any language."""
_OURS = frozenset({"audit_refuse_change", "audit_hash_event", "audit_queue_event", "seal_audit", "inline_code_block"})
"""The functions of the revisions in schema bazar, and the blocks in them."""
_POINTED_AT = frozenset({"42703", "42804"})
"""Undefined column, datatype mismatch."""


@dataclass(frozen=True)
class Diagnostics:
    """The texts of one error."""

    sqlstate: str | None
    message: str
    detail: str = ""
    hint: str = ""
    context: str = ""
    """The functions in which it arose, the innermost first."""
    position: str = "unknown"
    """The place in the statement; empty where the server does not say."""
    remedy: str = ""
    """A remedy for this error, where bazar knows one."""

    @property
    def text(self) -> str:
        """The message and, unless it quotes a row, the DETAIL."""
        detail = "" if (self.sqlstate or "").startswith(_OF_ROWS) else self.detail
        return f"{self.message} ({detail.rstrip('.')})" if detail else self.message

    @property
    def was_raised(self) -> bool:
        """True if a function raised it by RAISE, with any SQLSTATE."""
        return self.context.partition("\n")[0].endswith("RAISE")

    @property
    def is_of_others(self) -> bool:
        """Whether it was raised on purpose, or arose in a function, as that of a trigger, which is not bazar's."""
        functions = {name.removeprefix("bazar.") for name in _FUNCTION.findall(self.context)}
        # The parser points at what it does not know in a statement; a trigger written in C has nothing to point at.
        in_c = self.sqlstate in _POINTED_AT and not (self.position or self.context)
        return self.was_raised or in_c or bool(functions - _OURS)

    def advice(self, general: str) -> str:
        """Return the server's HINT, if any, and the remedy: the one of this error, or else the `general` one."""
        return "; ".join(filter(None, (self.hint.rstrip("."), self.remedy or general)))


def diagnostics_of(error: psycopg.Error) -> Diagnostics:
    """Return the texts of an error; Postgres and libpq never put a password in them."""
    diag = error.diag
    if diag.message_primary is None:
        lines = [line.strip() for line in plain_reason(str(error)).splitlines() if line.strip()]
        return Diagnostics(error.sqlstate, lines[0] if lines else type(error).__name__)
    texts = (diag.message_primary, diag.message_detail, diag.message_hint)
    message, detail, hint = ("; ".join((text or "").splitlines()) for text in texts)
    return Diagnostics(error.sqlstate, message, detail, hint, diag.context or "", diag.statement_position or "")
