"""Every error that bazar raises on purpose, with the exit code scripts rely on.

An error is raised where the fact is known and travels untouched to `main`, which prints it once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import ClassVar

from bazar_cli.domain.limits import RateLimit


class ExitCode(IntEnum):
    """The exit codes of the command-line contract."""

    DONE = 0
    BUG = 1
    USAGE = 2
    NOT_FOUND = 3
    NOT_SIGNED_IN = 4
    DENIED = 5
    CONFLICT = 6
    UNAVAILABLE = 7
    PARTIAL = 8
    FINDING = 9
    REFUSED = 10
    INTERRUPTED = 130


class BazarError(Exception):
    """An error: a message, a hint for the next step, and a stable code for scripts.

    Parameters: `code` is `noun.reason` and never changes; `message` names the value and the rule; `hint` is
    the next step; `details` are JSON values for machines; `below` are lines below the message. Message, hint and each
    of these are shown as one line: a line break in what they quote is escaped. None of them may hold a secret.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.BUG

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str = "",
        details: Mapping[str, object] | None = None,
        below: Sequence[str] = (),
    ) -> None:
        self.lines = (message, *(f"  {line}" for line in below))
        self.message = "\n".join(self.lines)
        super().__init__(self.message)
        self.code = code
        self.hint = hint
        self.details: dict[str, object] = dict(details or {})


class UsageError(BazarError):
    """Wrong usage, or a value that breaks a rule."""

    exit_code = ExitCode.USAGE


class StoreUnusable(UsageError):
    """A file or folder of bazar cannot be used, and trying again does not help."""


class NotFound(BazarError):
    """It does not exist, or the operator cannot see it."""

    exit_code = ExitCode.NOT_FOUND


class NotSignedIn(BazarError):
    """No session, an expired one, or a refused sign-in."""

    exit_code = ExitCode.NOT_SIGNED_IN


class Denied(BazarError):
    """The operator's plan or scope does not allow it."""

    exit_code = ExitCode.DENIED


class Conflict(BazarError):
    """It exists with other values, another run is in the middle of it, or an invariant forbids it."""

    exit_code = ExitCode.CONFLICT


class OutOfReach(NotFound):
    """The user or organization does not exist, or the operator cannot see it."""


class RightsChanged(Conflict):
    """The operator's rights changed after the gate read them.

    Parameters: `refusal` is the error of the command with the new rights; None if the rights changed once more.
    """

    def __init__(self, refusal: BazarError | None = None) -> None:
        happened = "your rights changed while the command ran"
        if refusal is None:
            super().__init__("access.changed", f"{happened}, and it stopped", hint="run it again")
        else:
            super().__init__(
                "access.changed",
                f"{happened}, and nothing was written: {refusal.message}",
                hint=refusal.hint,
                details={**refusal.details, "refusal": refusal.code},
            )


class SessionNotFound(Conflict):
    """The database does not have the operator's session: it has ended, or the database belongs to another project.

    Parameters: `refusal` is the error of the command, if the session has not ended.
    """

    def __init__(self, refusal: Conflict) -> None:
        super().__init__(refusal.code, refusal.message, hint=refusal.hint, details=refusal.details)


class KeyRefused(Conflict):
    """Supabase Auth refused the service key and did nothing. Postgres may have the change already."""


class BackendUnavailable(BazarError):
    """Postgres or Supabase Auth is unreachable or timed out; trying again may help.

    Parameters: `limit` is the rate limit of Supabase Auth that led to it: hint and details say when to try again.
    """

    exit_code = ExitCode.UNAVAILABLE

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str = "",
        details: Mapping[str, object] | None = None,
        below: Sequence[str] = (),
        limit: RateLimit | None = None,
    ) -> None:
        super().__init__(code, message, hint=hint, details=details, below=below)
        self.limit = limit
        if limit is not None:
            self.details |= limit.details
            if limit.advice not in hint:
                limited = f"Supabase Auth has reached a rate limit: {limit.advice}"
                self.hint = f"{hint}. {limited}" if hint else limited


class Refused(BazarError):
    """A guard refused: a protected environment, or consent is missing."""

    exit_code = ExitCode.REFUSED
