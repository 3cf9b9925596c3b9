"""Whether Supabase Auth answers, takes the service key, and agrees on the time; reads no data."""

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
    with translated(target, "its health"), open_client(tls=target.supabase_url.startswith("https:")) as http:
        health = http.get(f"{auth_url(target)}/health", headers=key_headers(target))
        now = datetime.now(timezone.utc)
        healthy = _accepted(health)
        accepted = _accepted(http.get(f"{auth_url(target)}/admin/users/{_NOBODY}", headers=key_headers(target)))
        said = http_date(health.headers.get("Date", ""))
        version = str(health.json().get("version") or "") if healthy else ""
    return AuthProbe(version, accepted, None if said is None else (now - said).total_seconds())


def _accepted(answer: httpx.Response) -> bool:
    """Whether an answer took the key. Raises: what any other refusal means, and an answer that means nothing."""
    try:
        judge(answer)
    except IdentityRefused as refusal:
        if not refusal.of_key and not refusal.not_found:
            raise
        return not refusal.of_key
    return True
