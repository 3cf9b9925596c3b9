"""One way to speak HTTP with Supabase Auth: address, keys, timeouts, and what a silent server means."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from math import ceil
from typing import TYPE_CHECKING

import httpx

from bazar_cli.domain.errors import BackendUnavailable, Conflict
from bazar_cli.domain.limits import TOO_MANY, as_details, when

if TYPE_CHECKING:
    from bazar_cli.domain.target import Target

TIMEOUT_SECONDS = 10.0
"""Below a lease's 20 s, so that a command knows an outcome, or that nobody does, while it holds its lease."""
_CONNECT_RETRIES = 2
"""Of connecting only: a request that was sent is never sent twice."""
_MOST_DIGITS = 9
"""Of the seconds to wait: thirty years, and no number that nothing can count."""
API_VERSION = {"X-Supabase-Api-Version": "2024-01-01"}


def auth_url(target: Target) -> str:
    """Return the base URL of a target's Auth service."""
    return f"{target.supabase_url}/auth/v1"


def key_headers(target: Target) -> dict[str, str]:
    """Return the headers that carry the service key; a gateway maps the `sb_secret_` form itself."""
    key = target.supabase_key.reveal()
    return {"apikey": key, "Authorization": f"Bearer {key}"}


def user_headers(target: Target, access_token: str) -> dict[str, str]:
    """Return the headers of a request in a user's own name."""
    return {"apikey": public_key(target), "Authorization": f"Bearer {access_token}", **API_VERSION}


def public_key(target: Target) -> str:
    """Return the anon key where the target has one: what a user does needs no service key at the gateway."""
    return (target.anon_key or target.supabase_key).reveal()


def open_http(target: Target) -> httpx.Client:
    """Open the connections of one command. The proxy and netrc settings of the shell are not taken over."""
    # Loading the CA bundle takes 44-114 ms; plain http (this machine, or a host allowed by name) needs none.
    verify = target.supabase_url.startswith("https:")
    transport = httpx.HTTPTransport(retries=_CONNECT_RETRIES, http2=False, verify=verify)
    return httpx.Client(timeout=TIMEOUT_SECONDS, transport=transport, trust_env=False, follow_redirects=False)


def key_refused(message: str, details: Mapping[str, object]) -> Conflict:
    """Return the error for a service key that Auth does not take."""
    return Conflict(
        "supabase.key_refused",
        f"Supabase Auth refused the service key: {message}",
        hint="check SUPABASE_KEY, or the profile's key, with `bazar doctor`",
        details=details,
    )


class Limits:
    """Whether the last answer was 429, and in how many seconds it wants to be asked for again.

    The client library's errors hold no headers, and none of a page that a gateway answers with.
    """

    def __init__(self, http: httpx.Client) -> None:
        self.met = False
        self.pause: int | None = None
        http.event_hooks = {"response": [self._note]}

    def _note(self, response: httpx.Response) -> None:
        self.met = response.status_code == TOO_MANY
        self.pause = retry_after(response) if self.met else None


def mails_limited(what: str, pause: int | None, details: Mapping[str, object]) -> BackendUnavailable:
    """Return the error for a mail that Supabase Auth does not send now. `what` says which."""
    return _limited(f"it sends mails, and did not send {what}", pause, details)


def links_limited(what: str, pause: int | None, details: Mapping[str, object]) -> BackendUnavailable:
    """Return the error for a link that Supabase Auth does not make now. `what` says which."""
    return _limited(f"it is asked, and did not make {what}", pause, details)


def _limited(what: str, pause: int | None, details: Mapping[str, object]) -> BackendUnavailable:
    return BackendUnavailable(
        "supabase.rate_limited",
        f"Supabase Auth limits how often {what}",
        hint=f"{when(pause)}; the project's limits are in its Auth settings",
        details={**details, **as_details(pause)},
    )


def retry_after(response: httpx.Response) -> int | None:
    """Return in how many seconds an answer wants to be asked for again; None where it does not say, or nonsense.

    The header counts seconds or names a date (RFC 9110, 10.2.3); Supabase Auth itself sends none, gateways do.
    """
    given = response.headers.get("Retry-After", "").strip()
    if not given:
        return None
    if given.isascii() and given.isdigit():
        return int(given) if len(given) <= _MOST_DIGITS else None
    try:
        moment = parsedate_to_datetime(given)
    except (ValueError, OverflowError):
        return None
    now = datetime.now(timezone.utc)
    return max(0, ceil((moment.replace(tzinfo=moment.tzinfo or timezone.utc) - now).total_seconds()))


def explained(response: httpx.Response) -> tuple[str | None, str]:
    """The error code and message in either of Supabase Auth's error shapes (facts, section a)."""
    try:
        body = response.json()
        code = body.get("error_code") or body.get("code")
        return (code if isinstance(code, str) else None), str(body.get("message") or body.get("msg") or "")
    except (ValueError, AttributeError):
        return None, response.reason_phrase


def unavailable(target: Target, error: Exception | str, answer: httpx.Response | None = None) -> BackendUnavailable:
    """Return the error for an Auth service that did not answer, or with `answer`, which is none to the request."""
    reason = (error if isinstance(error, str) else str(error)) or type(error).__name__
    hint = (
        "start it with `bazar local start`"
        if target.source.name == "local"
        else "check SUPABASE_URL and the network, then try again; `bazar doctor` looks at both systems"
    )
    details: dict[str, object] = {"url": target.supabase_url}
    if answer is not None and answer.status_code == TOO_MANY:
        pause = retry_after(answer)
        hint = f"Supabase Auth limits how often it is asked: {when(pause)}"
        details |= as_details(pause)
    return BackendUnavailable(
        "supabase.unavailable",
        f"Supabase Auth at {target.supabase_url} is not available: {reason.splitlines()[0]}",
        hint=hint,
        details=details,
    )
