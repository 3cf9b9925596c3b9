"""Whether Supabase Auth answers, accepts the service key, and has the same time. Reads no data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING
from uuid import UUID

import httpx

from bazar_cli.adapters.supabase.answers import http_date, judge, translated
from bazar_cli.adapters.supabase.http import auth_url, key_headers
from bazar_cli.adapters.supabase.transport import open_client
from bazar_cli.domain.users.identities import IdentityRefused

if TYPE_CHECKING:
    from bazar_cli.domain.target import Target

_NOBODY = UUID(int=0)
"""No identity has this id (Supabase refuses it), so that a request for it tests the key and reads nothing."""


@dataclass(frozen=True)
class AuthProbe:
    """The state of Supabase Auth."""

    version: str
    key_accepted: bool
    clock_skew_seconds: float | None
    """How many seconds this machine's clock is ahead; None when the server sends no date."""


def probe_auth(target: Target) -> AuthProbe:
    """Ask the health endpoint, then the admin API. Raises: BackendUnavailable."""
    with translated(target, "its health"), open_client(tls=target.supabase_url.startswith("https:")) as http:
        health = http.get(f"{auth_url(target)}/health", headers=key_headers(target))
        now = datetime.now(timezone.utc)
        healthy = _accepted(health)
        accepted = _accepted(http.get(f"{auth_url(target)}/admin/users/{_NOBODY}", headers=key_headers(target)))
        date = http_date(health.headers.get("Date", ""))
        version = str(health.json().get("version") or "") if healthy else ""
    return AuthProbe(version, accepted, None if date is None else (now - date).total_seconds())


def _accepted(answer: httpx.Response) -> bool:
    """Whether Auth accepted the key. Raises: IdentityRefused, OutcomeUnknown for any other failure."""
    try:
        judge(answer)
    except IdentityRefused as refusal:
        if not refusal.of_key and not refusal.not_found:
            raise
        return not refusal.of_key
    return True
