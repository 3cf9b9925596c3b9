"""HTTP to Supabase Auth: address, keys, and a client that raises what a failed answer means."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import httpx

from bazar_cli.adapters.supabase.answers import judge
from bazar_cli.adapters.supabase.transport import open_client

if TYPE_CHECKING:
    from bazar_cli.domain.target import Target

Connections: TypeAlias = httpx.Client
"""The connections of a command or a server process, as `open_http` makes them."""
API_VERSION = {"X-Supabase-Api-Version": "2024-01-01"}


def auth_url(target: Target) -> str:
    """Return the base URL of a target's Auth service."""
    return f"{target.supabase_url}/auth/v1"


def key_headers(target: Target) -> dict[str, str]:
    """Return the headers with the service key; the gateway translates the `sb_secret_` form."""
    key = target.supabase_key.reveal()
    return {"apikey": key, "Authorization": f"Bearer {key}"}


def user_headers(target: Target, access_token: str) -> dict[str, str]:
    """Return the headers of a request on behalf of a user."""
    return {"apikey": public_key(target), "Authorization": f"Bearer {access_token}", **API_VERSION}


def public_key(target: Target) -> str:
    """Return the anon key if the target has one, else the service key: a user's request needs either at the gateway."""
    return (target.anon_key or target.supabase_key).reveal()


def open_http(target: Target) -> httpx.Client:
    """Open connections of one command or server process; an answer that is not a success raises as `judge` does."""
    # Plain http (this machine, or a host allowed by name) needs no certificates.
    http = open_client(tls=target.supabase_url.startswith("https:"))
    http.event_hooks = {"response": [judge]}
    return http
