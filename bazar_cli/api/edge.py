"""The outermost layer: the record of each request, the headers of each answer, and every error as a problem."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect

from bazar_cli import __version__
from bazar_cli.api import problems
from bazar_cli.api.calls import ASIDE, Call, Hider, begin
from bazar_cli.domain.secrets import announced_to

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS: Mapping[str, str] = {
    "Bazar-Version": __version__,
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every answer, unless it has its own."""
_ASIDE = quote(ASIDE).encode()


class Edge:
    """Wraps the application. Parameters: `hider` makes what hides the secrets of one request in problems."""

    def __init__(self, app: ASGIApp, hider: Callable[[], Hider]) -> None:
        self._app = app
        self._hider = hider

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call = begin(scope, self._hider)
        raw: bytes = scope.get("raw_path") or b""
        if b"%2f" in raw.lower():
            scope["path"] = unquote(raw.replace(b"%2F", _ASIDE).replace(b"%2f", _ASIDE).decode("latin-1"))
        sender = _sender(call, send)
        try:
            with announced_to(call.secrets.append):
                await self._app(scope, receive, sender)
        except ClientDisconnect:
            return  # nobody reads an answer
        except Exception:  # a bug of any part: its text is for the log alone, and the client gets the request id
            text = call.hidden(traceback.format_exc())
            logging.getLogger(__name__).error("unexpected error\n%s", text, extra={"request_id": call.request_id})
            # An answer that was begun is cut, so that its client sees that it is not whole.
            if call.started and call.code != problems.BUG:
                raise


def shown_path(scope: Scope) -> str:
    """Return the path of a request as the client wrote it."""
    raw: bytes = scope.get("raw_path") or b""
    return raw.decode("latin-1") or scope["path"]


def _sender(call: Call, send: Send) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            call.started = True
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers["X-Request-Id"] = call.request_id
        await send(message)

    return sender
