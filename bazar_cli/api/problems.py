"""Errors as `application/problem+json` (RFC 9457): every error of the domain, and those of HTTP itself."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from bazar_cli import DOCUMENTATION, __version__
from bazar_cli.api.calls import Call
from bazar_cli.api.errors import NoRoute, Unserved
from bazar_cli.domain.consent import ConsentNeeded
from bazar_cli.domain.errors import BackendUnavailable, BazarError, ExitCode
from bazar_cli.domain.versions import VersionChanged

MEDIA_TYPE = "application/problem+json"
BUG = "internal.unexpected"
_STATUSES = {
    ExitCode.BUG: 500,
    ExitCode.USAGE: 422,
    ExitCode.NOT_FOUND: 404,
    ExitCode.NOT_SIGNED_IN: 401,
    ExitCode.DENIED: 403,
    ExitCode.CONFLICT: 409,
    ExitCode.UNAVAILABLE: 503,
    ExitCode.REFUSED: 428,
}
"""A use case ends with no other exit code by an error."""
_AGAIN_SECONDS = {"users.busy": 20, "idempotency.running": 2}
"""When to repeat a request that was refused because another one is in the middle of it."""
_OF_THE_SERVER = frozenset(
    {
        *("db.no_database", "db.not_migrated", "postgres.fault", "postgres.not_admitted", "postgres.privilege"),
        *("postgres.refused", "postgres.tls", "postgres.url", "supabase.key_refused"),
    }
)
"""Errors of the server's own target, which no request can avoid."""
_UNAVAILABLE_SECONDS = 2
_LIMITED_SECONDS = 60


def status_of(error: BazarError) -> int:
    """Return the status of HTTP for an error."""
    if isinstance(error, Unserved):
        return error.status
    if isinstance(error, VersionChanged):
        return HTTPStatus.PRECONDITION_FAILED
    if isinstance(error, BackendUnavailable) and error.limit is not None:
        return HTTPStatus.TOO_MANY_REQUESTS
    if error.code in _OF_THE_SERVER:
        return HTTPStatus.SERVICE_UNAVAILABLE
    return _STATUSES[error.exit_code]


def retry_after(error: BazarError, status: int) -> int | None:
    """Return after how many seconds the request may be repeated; None where that does not help."""
    if isinstance(error, BackendUnavailable) and error.limit is not None and error.limit.retry_after is not None:
        return error.limit.retry_after
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return _LIMITED_SECONDS
    return _UNAVAILABLE_SECONDS if status == HTTPStatus.SERVICE_UNAVAILABLE else _AGAIN_SECONDS.get(error.code)


def problem(error: BazarError, call: Call, path: str) -> dict[str, Any]:
    """Return the problem object of an error, without secrets.

    Parameters: `path` is that of the request.
    """
    status = status_of(error)
    hint = error.hint
    if call.is_of_another_release and isinstance(error, (Unserved, NoRoute)):
        versions = f"the server is bazar {__version__}, the client is {call.client_version}"
        hint = f"{hint}; {versions}" if hint else versions
    first, *below = error.lines
    found: dict[str, Any] = {
        "type": f"{DOCUMENTATION}/errors.md#{error.code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": first,
        "instance": path,
        "code": error.code,
        "exit_code": int(error.exit_code),
        "hint": hint,
        "details": error.details,
        "request_id": call.request_id,
        "below": [line.removeprefix("  ") for line in below],
    }
    again = retry_after(error, status)
    if again is not None:
        found["retry_after"] = again
    if isinstance(error, ConsentNeeded):
        found["impact"] = _impact(error)
    hidden = call.hidden(json.loads(json.dumps(found, default=str)))
    # These have no text of users, and a client compares them.
    return {**hidden, **{name: found[name] for name in ("type", "status", "code", "exit_code", "request_id")}}


def answer(error: BazarError, call: Call, path: str) -> Response:
    """Return the response for an error."""
    content = problem(error, call, path)
    status = content["status"]
    call.code = error.code
    headers = error.headers if isinstance(error, Unserved) else {}
    if "retry_after" in content:
        headers["Retry-After"] = str(content["retry_after"])
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")
    return Response(body, status, headers, MEDIA_TYPE)


def bug() -> BazarError:
    """Return the error for a bug: nothing of it but the request id leaves the server."""
    return BazarError(
        BUG,
        "the server met an unexpected error",
        hint="this is a bug in bazar: report it with the request id",
    )


def _impact(needed: ConsentNeeded) -> dict[str, Any]:
    impact = needed.impact
    word = impact.word
    return {
        "text": impact.text,
        "question": impact.question,
        "command": impact.command,
        "subject": list(impact.subject),
        "users": impact.users,
        "details": impact.details,
        "word": None
        if word is None
        else {"value": word.value, "what": word.what, "code": word.code, "any_case": word.any_case},
    }
