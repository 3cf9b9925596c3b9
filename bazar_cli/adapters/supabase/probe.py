"""Whether Supabase Auth answers, takes the service key, and agrees on the time; reads no data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING
from uuid import UUID

import httpx

from bazar_cli.adapters.supabase.http import auth_url, key_headers, open_http, unavailable

if TYPE_CHECKING:
    from bazar_cli.domain.target import Target

_NOBODY = UUID(int=0)
"""No identity has this id (Supabase refuses it), so asking for it tries the key and reads nothing."""


@dataclass(frozen=True)
class AuthProbe:
    """What one look at Supabase Auth found."""

    version: str
    key_accepted: bool
    clock_skew_seconds: float | None
    """How far this machine's clock is ahead; None when the server sends no date."""


def probe_auth(target: Target) -> AuthProbe:
    """Ask the health endpoint, then the admin API for nobody. Raises: BackendUnavailable."""
    try:
        with open_http(target) as http:
            health = http.get(f"{auth_url(target)}/health", headers=key_headers(target))
            now = datetime.now(timezone.utc)
            if not health.is_success and health.status_code not in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
                raise unavailable(target, f"{health.status_code} for its health", health)
            nobody = http.get(f"{auth_url(target)}/admin/users/{_NOBODY}", headers=key_headers(target))
    except httpx.HTTPError as error:
        raise unavailable(target, error) from error
    if nobody.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or nobody.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        raise unavailable(target, f"{nobody.status_code} from its admin API", nobody)
    accepted = nobody.status_code not in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
    return AuthProbe(_version(health), accepted, _skew(health.headers.get("date"), now))


def _version(health: httpx.Response) -> str:
    try:
        return str(health.json().get("version") or "")
    except (ValueError, AttributeError):
        return ""


def _skew(date: str | None, now: datetime) -> float | None:
    try:
        return (now - parsedate_to_datetime(date)).total_seconds() if date else None
    except (ValueError, TypeError):
        return None
