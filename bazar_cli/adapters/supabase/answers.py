"""What an answer of Supabase Auth means: one classification for every request, and the errors it ends in."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING, cast

import httpx

from bazar_cli.domain.errors import BackendUnavailable, KeyRefused
from bazar_cli.domain.limits import TOO_MANY, RateLimit
from bazar_cli.domain.texts import from_json, whole_number
from bazar_cli.domain.users.identities import IN_THE_WAY, IdentityRefused, OutcomeUnknown

if TYPE_CHECKING:
    from bazar_cli.domain.target import Target

MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What code raises that reads an answer in another form than Supabase Auth's; pydantic's errors are ValueErrors."""
_MAY_PASS = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY})
_MOST_DIGITS = 9
"""Of the seconds to wait: thirty years, and no number that nothing can count."""
_LONGEST_MESSAGE = 500


def judge(response: httpx.Response) -> None:
    """Raise what an answer means that is no success.

    A 4xx in Supabase's form is a refusal: nothing was done. A page of a gateway, a 404 that does not say who is
    missing, 429 and 5xx prove nothing: the request may have been acted on, or may pass later.
    Raises: IdentityRefused, `of_key` for 401 and 403; OutcomeUnknown.
    """
    if response.is_success:
        return
    status = response.status_code
    body = _object(response)
    code, message = _explained(body, response)
    refusal = IdentityRefused(status, code, message, page=body is None)
    in_form = body is not None and status not in {*_MAY_PASS, TOO_MANY}
    if refusal.of_key or (
        response.is_client_error and in_form and (status != HTTPStatus.NOT_FOUND or refusal.not_found)
    ):
        raise refusal
    raise OutcomeUnknown(f"{status} {message}".strip(), status=status, retry_after=retry_after(response))


@contextmanager
def reading(target: Target, what: str) -> Generator[None]:
    """Translate what goes wrong while something is read with the service key. `what` names it, with its verb.

    Raises: BackendUnavailable `supabase.unavailable`; KeyRefused.
    """
    try:
        yield
    except IdentityRefused as refusal:
        if refusal.of_key:
            raise key_refused(refusal) from refusal
        raise unavailable(target, f"{refusal.status} {refusal.message}") from refusal
    except (OutcomeUnknown, httpx.HTTPError) as error:
        raise unavailable(target, error) from error
    except MALFORMED as error:
        raise unavailable(target, f"{what} not in the form of Supabase Auth's") from error


def key_refused(refusal: IdentityRefused) -> KeyRefused:
    """Return the error for a service key that Auth does not take."""
    return KeyRefused(
        "supabase.key_refused",
        f"Supabase Auth refused the service key: {refusal.message}",
        hint="check SUPABASE_KEY, or the profile's key, with `bazar doctor`",
        details={"status": refusal.status, "supabase_code": refusal.code},
    )


def unavailable(target: Target, error: Exception | str) -> BackendUnavailable:
    """Return the error for an Auth service that gave no answer, or none that answers the request."""
    reason = (error if isinstance(error, str) else str(error)) or type(error).__name__
    hint = (
        "start it with `bazar local start`"
        if target.source.name == "local"
        else "check SUPABASE_URL and the network, then try again; `bazar doctor` looks at both systems"
    )
    limit = error.limit if isinstance(error, OutcomeUnknown) else None
    if limit is not None:
        hint = ""
    if isinstance(error, OutcomeUnknown) and error.of_its_database:
        hint = f"try again. {IN_THE_WAY}"
    return BackendUnavailable(
        "supabase.unavailable",
        f"Supabase Auth at {target.supabase_url} is not available: {reason.splitlines()[0]}",
        hint=hint,
        details={"url": target.supabase_url},
        limit=limit,
    )


def mails_limited(what: str, limit: RateLimit, details: Mapping[str, object]) -> BackendUnavailable:
    """Return the error for a mail that Supabase Auth does not send now. `what` says which."""
    return _limited(f"it sends mails, and did not send {what}", limit, details)


def links_limited(what: str, limit: RateLimit, details: Mapping[str, object]) -> BackendUnavailable:
    """Return the error for a link that Supabase Auth does not make now. `what` says which."""
    return _limited(f"it is asked, and did not make {what}", limit, details)


def _limited(what: str, limit: RateLimit, details: Mapping[str, object]) -> BackendUnavailable:
    return BackendUnavailable(
        "supabase.rate_limited",
        f"Supabase Auth limits how often {what}",
        hint=f"{limit.advice}; the project's limits are in its Auth settings",
        details=details,
        limit=limit,
    )


def retry_after(response: httpx.Response) -> int | None:
    """Return in how many seconds an answer wants to be asked for again; None where it does not say, or nonsense.

    The header counts seconds or names a date (RFC 9110, 10.2.3); Supabase Auth itself sends none, gateways do.
    """
    given = response.headers.get("Retry-After", "").strip()
    if given.isascii() and given.isdigit():
        return whole_number(given, _MOST_DIGITS)
    moment = http_date(given)
    return None if moment is None else max(0, ceil((moment - datetime.now(timezone.utc)).total_seconds()))


def http_date(text: str) -> datetime | None:
    """Return the moment of a date in a header; None for nonsense."""
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=moment.tzinfo or timezone.utc).astimezone(timezone.utc)
    except MALFORMED:
        return None


def _object(response: httpx.Response) -> Mapping[str, object] | None:
    try:
        body = from_json(response.content.decode())  # `json` guesses: it would also take UTF-16, and UTF-8 with a BOM
    except ValueError:
        return None
    return cast("Mapping[str, object]", body) if isinstance(body, dict) else None


def _explained(body: Mapping[str, object] | None, response: httpx.Response) -> tuple[str | None, str]:
    """The error code and message in either of Supabase Auth's error shapes (Supabase Auth v2.196)."""
    said = body or {}
    code = next((c for c in (said.get("error_code"), said.get("code")) if isinstance(c, str) and c.isascii()), None)
    texts = (said.get(name) for name in ("message", "msg", "error_description", "error"))
    message = next((t for t in texts if isinstance(t, str) and t), response.reason_phrase)
    # Half a surrogate pair can be written nowhere.
    return code, message[:_LONGEST_MESSAGE].encode(errors="replace").decode()
