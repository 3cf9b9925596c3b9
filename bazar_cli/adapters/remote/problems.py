"""The problems of the API (RFC 9457) as the errors of the domain that the server raised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from bazar_cli.domain.consent import ConsentNeeded, Impact, Word
from bazar_cli.domain.errors import (
    BackendUnavailable,
    BazarError,
    Conflict,
    Denied,
    NotFound,
    NotSignedIn,
    Refused,
    UsageError,
)

_KINDS: Mapping[int, type[BazarError]] = {
    kind.exit_code: kind
    for kind in (UsageError, NotFound, NotSignedIn, Denied, Conflict, BackendUnavailable, Refused, BazarError)
}


def error_of(problem: object) -> BazarError | None:
    """Return the error that a problem object stands for; None for JSON that is no problem of bazar."""
    if not isinstance(problem, dict):
        return None
    found = cast("dict[str, Any]", problem)
    try:
        if (impact := found.get("impact")) is not None:
            return ConsentNeeded(_impact(impact))
        # An exit code of a newer server is that of an unexpected error.
        kind = _KINDS.get(int(found["exit_code"]), BazarError)
        return kind(
            str(found["code"]),
            str(found["detail"]),
            hint=str(found.get("hint") or ""),
            details=dict(found.get("details") or {}),
            below=[str(line) for line in found.get("below") or ()],
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def error_in_stream(line: object) -> BazarError | None:
    """Return the error of a line that ends a stream; None for a row."""
    found = cast("dict[str, Any]", line) if isinstance(line, dict) else {}
    return error_of(found["error"]) if found.keys() == {"error"} else None


def _impact(given: Any) -> Impact:
    word = given["word"]
    return Impact(
        text=str(given["text"]),
        question=str(given["question"]),
        command=str(given["command"]),
        subject=tuple(str(value) for value in given["subject"]),
        users=int(given["users"]),
        details=dict(given["details"]),
        word=word and Word(str(word["value"]), str(word["what"]), str(word["code"]), any_case=bool(word["any_case"])),
    )
