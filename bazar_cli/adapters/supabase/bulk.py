"""Supabase Auth's admin API for many identities: requests that run side by side on one event loop.

The requests have the deadline and the limits of `transport`, and their answers have the meanings of `answers`. The
asynchronous client of the library is not used: it doubles the processor time of a request (docs/decisions/0026).
Only the import of users needs this module: it loads aiohttp.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from bazar_cli.adapters.supabase.admin import attributes_of, identity_from_json
from bazar_cli.adapters.supabase.answers import judge, translated, written
from bazar_cli.adapters.supabase.http import API_VERSION, auth_url, key_headers
from bazar_cli.adapters.supabase.transport import (
    ACCEPTED,
    CALL_SECONDS,
    KEPT_SECONDS,
    MOST_BYTES,
    TOO_LARGE,
    note_status,
    timed_request,
    too_slow,
    whole_answer,
)
from bazar_cli.domain.users.identities import IdentityRefused, NewIdentity, StoredIdentity

if TYPE_CHECKING:
    from bazar_cli.domain.target import Target


class BulkAdminClient:
    """The admin API with a target's service key; `services.gate.backends` opens it for a Grant only."""

    def __init__(self, target: Target, transport: AiohttpTransport) -> None:
        self._target = target
        self._transport = transport
        self._users = httpx.URL(f"{auth_url(target)}/admin/users")
        json_body = {"Content-Type": "application/json"}
        self._headers = httpx.Headers({**key_headers(target), **API_VERSION, **ACCEPTED, **json_body})

    async def create(self, identity: NewIdentity) -> None:
        """Create an identity with our id and stamp.

        Raises: IdentityRefused (4xx); OutcomeUnknown (429, 5xx, timeout, broken connection); KeyRefused.
        """
        body = json.dumps(attributes_of(identity)).encode()
        with written():
            judge(await self._send(httpx.Request("POST", self._users, headers=self._headers, content=body)))

    async def get(self, user_id: uuid.UUID) -> StoredIdentity | None:
        """Return the identity with this id, None for an unknown id.

        Raises: BackendUnavailable `supabase.unavailable`; KeyRefused `supabase.key_refused`.
        """
        with translated(self._target, "an identity"):
            answer = await self._send(httpx.Request("GET", f"{self._users}/{user_id}", headers=self._headers))
            try:
                judge(answer)
            except IdentityRefused as refusal:
                if not refusal.not_found:
                    raise
                return None
            return identity_from_json(answer.json())

    async def _send(self, request: httpx.Request) -> httpx.Response:
        with timed_request(request) as call:
            try:
                answer = await asyncio.wait_for(self._exchange(request), CALL_SECONDS)
            except asyncio.TimeoutError as error:
                raise too_slow(CALL_SECONDS) from error
            except aiohttp.ClientError as error:  # those that the transport does not translate
                raise httpx.TransportError(str(error) or type(error).__name__) from error
            note_status(call, answer)
        return answer

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        answer = await self._transport.handle_async_request(request)
        body = bytearray()
        try:
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > MOST_BYTES:
                    raise httpx.RemoteProtocolError(TOO_LARGE)
        finally:
            await answer.aclose()
        return whole_answer(answer.status_code, answer.headers, bytes(body))


@asynccontextmanager
async def open_bulk(target: Target, connections: int) -> AsyncGenerator[BulkAdminClient]:
    """Open this many connections at most, without the proxy, netrc and cookies of anything else."""
    # Plain http needs no certificates, as in `http.open_http`.
    context = httpx.create_ssl_context(verify=target.supabase_url.startswith("https:"))
    connector = aiohttp.TCPConnector(limit=connections, ssl=context, keepalive_timeout=KEPT_SECONDS)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    ) as session:
        # The transport's own context is never used: the session connects.
        yield BulkAdminClient(target, AiohttpTransport(verify=context, trust_env=False, client=session))
