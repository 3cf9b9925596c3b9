"""Supabase Auth's admin API for many identities: requests that run side by side on one event loop.

The requests have the deadline and the limits of `transport`, and their answers have the meanings of `answers`. The
asynchronous client of the library is not used: it doubles the processor time of a request (docs/decisions/0026).
Only the import of users needs this module: it loads aiohttp.
"""

from __future__ import annotations

import asyncio
import json
import socket
import uuid
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from bazar_cli.adapters.supabase import transport
from bazar_cli.adapters.supabase.admin import attributes_of, identity_from_json
from bazar_cli.adapters.supabase.answers import judge, translated, written
from bazar_cli.adapters.supabase.http import API_VERSION, auth_url, key_headers
from bazar_cli.domain.authz.spec import Sealed
from bazar_cli.domain.users.identities import IdentityRefused, NewIdentity, StoredIdentity

if TYPE_CHECKING:
    from bazar_cli.domain.target import Target

_HEAD_BYTES = 64 * 2**10
"""The room that a bound of an answer leaves for its headers and framing."""


class BulkAdminClient:
    """The admin API with a target's service key; `services.gate.backends` opens it for a Grant only."""

    def __init__(self, target: Target, connections: AiohttpTransport, *, read_only: bool) -> None:
        self._target = target
        self._read_only = read_only
        self._connections = connections
        self._users = httpx.URL(f"{auth_url(target)}/admin/users")
        json_body = {"Content-Type": "application/json"}
        self._headers = httpx.Headers({**key_headers(target), **API_VERSION, **transport.ACCEPTED, **json_body})

    async def create(self, identity: NewIdentity) -> None:
        """Create an identity with our id and stamp.

        Raises: IdentityRefused (4xx); OutcomeUnknown (429, 5xx, timeout, broken connection); KeyRefused.
        """
        body = json.dumps(attributes_of(identity)).encode()
        with self._writing():
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

    async def delete(self, user_id: uuid.UUID) -> None:
        """Delete an identity; an unknown id counts as deleted. Raises: as `create`."""
        try:
            with self._writing():
                judge(await self._send(httpx.Request("DELETE", f"{self._users}/{user_id}", headers=self._headers)))
        except IdentityRefused as refusal:
            if not refusal.not_found:
                raise

    @contextmanager
    def _writing(self) -> Generator[None]:
        if self._read_only:
            raise Sealed("a dry run tried to write to Supabase Auth")
        with written():
            yield

    async def _send(self, request: httpx.Request) -> httpx.Response:
        with transport.timed_request(request) as call:
            try:
                answer = await asyncio.wait_for(self._exchange(request), transport.CALL_SECONDS)
            except asyncio.TimeoutError as error:
                raise transport.too_slow(transport.CALL_SECONDS) from error
            except aiohttp.ClientError as error:  # those that the transport does not translate
                raise httpx.TransportError(str(error) or type(error).__name__) from error
            transport.note_status(call, answer)
        return answer

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        answer = await self._connections.handle_async_request(request)
        try:
            body = b"".join([piece async for piece in answer.aiter_raw()])
        finally:
            await answer.aclose()
        # aiohttp takes a body without a length for whole when the connection breaks, also at the bound of the socket.
        if len(body) > transport.MOST_BYTES - _HEAD_BYTES:
            raise httpx.RemoteProtocolError(transport.TOO_LARGE)
        return transport.whole_answer(answer.status_code, answer.headers, body)


class _BoundedSocket(socket.socket):
    """A connection that receives at most `transport.MOST_BYTES` after a request was sent, with headers and framing."""

    _received = 0

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive, and count. Raises: ConnectionAbortedError after too many bytes."""
        self._check()
        data = super().recv(bufsize, flags)
        self._received += len(data)
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into a buffer, and count: under TLS. Raises: as `recv`."""
        self._check()
        count = super().recv_into(buffer, nbytes, flags)
        self._received += count
        return count

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Send, and begin to count."""
        self._received = 0
        return super().send(data, flags)

    def sendmsg(self, *given: Any) -> int:
        """Send several buffers, and begin to count."""
        self._received = 0
        return super().sendmsg(*given)

    def _check(self) -> None:
        # What was received so far is delivered first, so that a body shows that it is too long.
        if self._received > transport.MOST_BYTES:
            raise ConnectionAbortedError(transport.TOO_LARGE)


def _socket(address: tuple[Any, ...]) -> socket.socket:
    return _BoundedSocket(*address[:3])


@asynccontextmanager
async def open_bulk(target: Target, connections: int, *, read_only: bool = False) -> AsyncGenerator[BulkAdminClient]:
    """Open this many connections at most, without the proxy, netrc and cookies of anything else."""
    # Plain http needs no certificates, as in `http.open_http`.
    context = httpx.create_ssl_context(verify=target.supabase_url.startswith("https:"))
    connector = aiohttp.TCPConnector(
        limit=connections, ssl=context, keepalive_timeout=transport.KEPT_SECONDS, socket_factory=_socket
    )
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    ) as session:
        # The transport's own context is never used: the session connects.
        transporting = AiohttpTransport(verify=context, trust_env=False, client=session)
        yield BulkAdminClient(target, transporting, read_only=read_only)
