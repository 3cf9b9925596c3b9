"""The meaning of Supabase Auth's answers, and the only table that translates them into errors.

A request ends in one of three ways. `judge` and `understood` distinguish them: it succeeded, Supabase refused it
(IdentityRefused), or the outcome is unknown (OutcomeUnknown). Writes raise these two to the services, which look at
both systems. For all other requests `translated` makes them an error of the domain.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING, cast

import httpx

from bazar_cli.domain.errors import BackendUnavailable, BazarError, KeyRefused, NotSignedIn, UsageError
from bazar_cli.domain.limits import TOO_MANY, RateLimit
from bazar_cli.domain.texts import from_json, plain_reason, whole_number
from bazar_cli.domain.users.identities import IN_THE_WAY, IdentityRefused, OutcomeUnknown

if TYPE_CHECKING:
    from bazar_cli.domain.target import Target

_MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""Raised by code that reads an answer in another form than Supabase Auth's; pydantic's errors are ValueErrors."""
_MAY_PASS = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY})
_MOST_DIGITS = 9
"""The longest time to wait in seconds: thirty years."""
_LONGEST_MESSAGE = 500


class Request(Enum):
    """The kind of a request, which decides the meaning of a refusal and of a limit."""

    BY_KEY = "something is read with the service key"
    BY_USER = "a user's session or password"
    SIGN_IN = "a sign-in"
    REFRESH = "a refresh"


@dataclass(frozen=True)
class _Meaning:
    """The error that a refusal of a user's request means."""

    supabase_codes: tuple[str, ...]
    """Supabase's error codes, or their beginnings."""
    statuses: frozenset[int]
    """The HTTP statuses with which the codes have this meaning; empty for any."""
    error: type[NotSignedIn | UsageError]
    code: str
    message: str
    """May hold `{code}` and `{message}` of the refusal."""
    hint: str


_SIGN_IN_AGAIN = "sign in again: `bazar auth login`"
_BAD_REQUEST = frozenset({HTTPStatus.BAD_REQUEST})
_NOT_ACCEPTED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_ONE_SIGN_IN = "; in a loop set BAZAR_TOKEN once to what `bazar auth token` prints"
_LIMITS = "; the project's limits are in its Auth settings"
_BAD_REFRESH_TOKEN = "refresh_token_malformed"  # noqa: S105 - no secret
"""In place of `validation_failed`, which Supabase says of a refresh token without the form of one (v2.196)."""
_MEANINGS = (
    _Meaning(
        ("invalid_credentials",),
        _BAD_REQUEST,
        NotSignedIn,
        "auth.invalid_credentials",
        "sign-in refused: the email or the password is wrong",
        "check both and try again",
    ),
    _Meaning(
        ("user_banned",),
        _BAD_REQUEST,
        NotSignedIn,
        "auth.user_banned",
        "sign-in refused: this user is banned at Supabase Auth",
        "ask an administrator to restore the user",
    ),
    _Meaning(
        ("email_not_confirmed",),
        _BAD_REQUEST,
        NotSignedIn,
        "auth.email_not_confirmed",
        "sign-in refused: the email address was never confirmed",
        "open the confirmation mail first",
    ),
    _Meaning(
        ("refresh_token_", "session_"),
        _BAD_REQUEST,
        NotSignedIn,
        "auth.session_expired",
        "the session has ended",
        _SIGN_IN_AGAIN,
    ),
    _Meaning(
        ("session_not_found", "user_not_found", "user_banned"),
        _NOT_ACCEPTED,
        NotSignedIn,
        "auth.session_revoked",
        "Supabase Auth no longer accepts the session ({code})",
        _SIGN_IN_AGAIN,
    ),
    # Of the token alone, which ended by Auth's clock or was signed by a key that Auth gave up: the session may live.
    _Meaning(
        ("bad_jwt", "no_authorization"),
        _NOT_ACCEPTED,
        NotSignedIn,
        "auth.token_invalid",
        "the access token is not valid: Supabase Auth refuses it, or it has expired there",
        _SIGN_IN_AGAIN,
    ),
    _Meaning(
        ("weak_password", "same_password", "validation_failed", "reauthentication_needed"),
        frozenset(),
        UsageError,
        "auth.password_refused",
        "Supabase Auth refused the new password: {message}",
        "choose another password",
    ),
)


def judge(response: httpx.Response) -> None:
    """Raise what an answer means that is not a success.

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
def understood(what: str, *library: type[Exception]) -> Generator[None]:
    """Make OutcomeUnknown of a request without an answer, and of an answer in another form than Supabase Auth's.

    Parameters: `what` names the answer; `library` are further errors that mean the same, of the library that sends.
    Raises: OutcomeUnknown; IdentityRefused, as `judge`.
    """
    try:
        yield
    except (httpx.HTTPError, *library) as error:
        raise OutcomeUnknown(plain_reason(str(error)) or type(error).__name__) from error
    except _MALFORMED as error:
        raise OutcomeUnknown(f"{what} does not have the form of Supabase Auth's") from error


@contextmanager
def written(*library: type[Exception]) -> Generator[None]:
    """Raise what a write that did not succeed means. Parameters: as `understood`.

    Raises: IdentityRefused, OutcomeUnknown; KeyRefused `supabase.key_refused`.
    """
    try:
        with understood("its answer", *library):
            yield
    except IdentityRefused as refusal:
        if refusal.of_key:
            raise key_refused(refusal) from refusal
        raise


@contextmanager
def translated(
    target: Target, what: str, request: Request = Request.BY_KEY, *library: type[Exception]
) -> Generator[None]:
    """Raise an error of the domain for a request that fails. Parameters: as `understood`.

    Raises: BackendUnavailable `supabase.unavailable`, `supabase.rate_limited`; KeyRefused; for what a user asks
    NotSignedIn and UsageError as the table says.
    """
    try:
        with understood(what, *library):
            yield
    except (IdentityRefused, OutcomeUnknown) as failure:
        raise _error_of(target, failure, request) from failure


def _error_of(target: Target, failure: IdentityRefused | OutcomeUnknown, request: Request) -> BazarError:
    by_user = request is not Request.BY_KEY
    if isinstance(failure, OutcomeUnknown):
        if failure.limit is None or not by_user:
            return unavailable(target, failure)
        if request is Request.BY_USER:
            return _limited("it is asked", failure.limit, more="")
        return _limited("one may sign in or refresh", failure.limit, more=_ONE_SIGN_IN)
    meaning = _meaning(failure, request) if by_user else None
    if meaning is not None:
        message = meaning.message.format(code=failure.code, message=failure.message)
        details = {"supabase_code": failure.code}
        return meaning.error(meaning.code, message, hint=meaning.hint, details=details)
    # The page of a gateway that refuses a user's request says nothing about the key.
    if failure.of_key and not (by_user and failure.page):
        return key_refused(failure)
    return unavailable(target, f"{failure.status} {failure.message}")


def _meaning(refusal: IdentityRefused, request: Request) -> _Meaning | None:
    code = refusal.code or ""
    if request is Request.REFRESH and code == "validation_failed":
        code = _BAD_REFRESH_TOKEN
    fitting = (
        m for m in _MEANINGS if code.startswith(m.supabase_codes) and refusal.status in (m.statuses or {refusal.status})
    )
    return next(fitting, None)


def key_refused(refusal: IdentityRefused) -> KeyRefused:
    """Return the error for a service key that Auth does not take."""
    return KeyRefused(
        "supabase.key_refused",
        f"Supabase Auth refused the service key: {refusal.message}",
        hint="check SUPABASE_KEY, or the profile's key, with `bazar doctor`",
        details={"status": refusal.status, "supabase_code": refusal.code},
    )


def unavailable(target: Target, error: Exception | str) -> BackendUnavailable:
    """Return the error for an Auth service that did not answer, or whose answer says nothing about the request."""
    reason = str(error) or type(error).__name__
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


def _limited(
    what: str, limit: RateLimit, details: Mapping[str, object] | None = None, *, more: str = _LIMITS
) -> BackendUnavailable:
    return BackendUnavailable(
        "supabase.rate_limited",
        f"Supabase Auth limits how often {what}",
        hint=f"{limit.advice}{more}",
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
    except _MALFORMED:
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
