"""What stands in front of the application in each process: health, the client's address, slow clients, records."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio

from bazar_cli.api.errors import Unserved

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from bazar_cli.api.serving.readiness import Readiness
    from bazar_cli.api.serving.records import Records

BODY_SECONDS = 30.0
"""How long a client may take to send a whole body."""
SEND_SECONDS = 30.0
"""How long a client may leave a part of an answer unread."""
_SCHEMES = frozenset({"http", "https"})


class Front:
    """The outermost application of a process.

    Parameters: `proxied` says that a proxy writes the last address of X-Forwarded-For, and X-Forwarded-Proto.
    """

    def __init__(self, app: ASGIApp, readiness: Readiness, records: Records, *, proxied: bool) -> None:
        self._app = app
        self._readiness = readiness
        self._records = records
        self._proxied = proxied

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path == "/healthz":
            await _answer(send, 200, {"status": "ok"})
        elif path == "/readyz":
            code = await self._readiness.problem()
            if code is None:
                await _answer(send, 200, {"status": "ready"})
            else:
                await _answer(send, 503, {"status": "not ready", "code": code})
        else:
            if self._proxied:
                _believe_proxy(scope)
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._records.of(scope) as record:
            client = _Client(receive, send, record.answered)
            await self._app(scope, client.receive, client.send)


class _Client:
    """The two directions of one request, each with a limit of time."""

    def __init__(self, receive: Receive, send: Send, on_status: Callable[[int], None]) -> None:
        self._on_status = on_status
        self._receive = receive
        self._send = send
        self._body_ends: float | None = anyio.current_time() + BODY_SECONDS

    async def receive(self) -> Message:
        """Receive a part of the body. Raises: Unserved `request.too_slow`."""
        if self._body_ends is None:  # the application waits until the client goes
            return await self._receive()
        message: Message = {}
        with anyio.move_on_after(self._body_ends - anyio.current_time()) as limit:
            message = await self._receive()
        if limit.cancelled_caught:
            raise _too_slow()
        if not message.get("more_body", False):
            self._body_ends = None
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer. Raises: OSError for a client that does not read it."""
        if message["type"] == "http.response.start":
            self._on_status(message["status"])
        with anyio.move_on_after(SEND_SECONDS) as limit:
            await self._send(message)
        if limit.cancelled_caught:
            raise OSError(f"the client read nothing for {SEND_SECONDS:g} s")


def _believe_proxy(scope: Scope) -> None:
    """Take the client's address and the scheme from what the proxy in front of this server wrote.

    Only the last address is the proxy's own; those before it came with the request.
    """
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    address = headers.get(b"x-forwarded-for", "").rpartition(",")[2].strip()
    if address:
        scope["client"] = (address, 0)
    scheme = headers.get(b"x-forwarded-proto", "").rpartition(",")[2].strip().lower()
    if scheme in _SCHEMES:
        scope["scheme"] = scheme


def _too_slow() -> Unserved:
    return Unserved(
        408,
        "request.too_slow",
        f"the body did not arrive within {BODY_SECONDS:g} s",
        hint="send it at once",
        headers={"Connection": "close"},
    )


async def _answer(send: Send, status: int, content: object) -> None:
    body = json.dumps(content).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
