"""Requests to bazar's HTTP API: JSON in and out, and every failure as an error of the domain."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from bazar_cli import __version__
from bazar_cli.adapters.remote.connection import Connection
from bazar_cli.adapters.remote.problems import error_in_stream, error_of
from bazar_cli.domain.calls import Call, System, timed, trace_headers
from bazar_cli.domain.errors import BackendUnavailable
from bazar_cli.domain.route import PREFIX
from bazar_cli.domain.texts import from_json
from bazar_cli.domain.urls import taken_apart

if TYPE_CHECKING:
    from bazar_cli.adapters.remote.proxies import Proxy
    from bazar_cli.domain.secrets import Secret
    from bazar_cli.domain.target import RemoteTarget

MOST_BYTES = 16 * 2**20
"""The largest answer, and the longest line of a stream."""
WAIT_SECONDS = 10.0
"""How long a read is repeated that the server is too busy for."""
_VERSION = "Bazar-Version"
_TOO_LARGE = f"its answer is larger than {MOST_BYTES // 2**20} MiB"
_PIECE = 1 << 16
_OK, _NO_CONTENT, _FIRST_REDIRECT, _FIRST_ERROR = 200, 204, 300, 400


@dataclass(frozen=True)
class Ask:
    """One request to the API."""

    method: str
    path: str
    """Below `/api/v1`, percent-encoded."""
    template: str
    """The path with names in place of values, for traces."""
    token: Secret | None = None
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    stands_for: Mapping[str, str] = field(default_factory=dict[str, str])
    """The references that the path cannot hold, by the ids that stand for them there."""


class ApiClient:
    """The API of one target, on one connection for all requests."""

    def __init__(self, target: RemoteTarget, environ: Mapping[str, str]) -> None:
        self._url = target.api_url
        self._connection = Connection(target.api_url, _proxy(target.api_url, environ))
        self.request_id = ""
        """Set for each command: the server keeps it, so that its log and this machine's agree."""
        self.server_date = ""
        """The header Date of the last answer: the server's clock."""
        self.server_version = ""
        """The release of the server, by the last answer."""

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def ask(self, asked: Ask) -> Any:
        """Send a request; return the JSON of the answer, None without a body.

        A read that the server is too busy for is repeated after the time that the server names.
        Raises: the error that the server answers; BackendUnavailable `api.unavailable`, `api.foreign_answer`.
        """
        ends = time.monotonic() + WAIT_SECONDS
        while True:
            with self._understood(), self._timed(asked) as call:
                response = self._sent(asked, call)
                content = self._whole(response)
            seconds = _seconds_to_wait(asked, response)
            if seconds is None or time.monotonic() + seconds > ends:
                return self._judged(response, content)
            time.sleep(seconds)

    def stream(self, asked: Ask) -> Iterator[Any]:
        """Send a request, and return the JSON values of the lines of its answer as they arrive.

        Raises: as `ask`, now and while the lines are read; the error that ends the lines.
        """
        with self._understood(), self._timed(asked) as call:
            response = self._sent(asked, call)
            content = b"" if response.status == _OK else self._whole(response)
        if content or _media_type(response) != "application/jsonl":
            self._judged(response, content)
            raise self._foreign(response)
        return self._values(response)

    def _sent(self, asked: Ask, call: Call) -> HTTPResponse:
        headers = {
            "Accept": "application/json, application/jsonl",
            "User-Agent": f"bazar/{__version__}",
            _VERSION: __version__,
            "X-Request-Id": self.request_id,
            **trace_headers(call),
            **asked.headers,
        }
        if asked.token is not None:
            headers["Authorization"] = f"Bearer {asked.token.reveal()}"
        body = None
        if asked.body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(asked.body, ensure_ascii=False, separators=(",", ":")).encode()
        path = PREFIX + asked.path + (f"?{urlencode(asked.query)}" if asked.query else "")
        response = self._connection.send(asked.method, path, headers, body)
        self.server_date = response.headers.get("Date", "")
        self.server_version = response.headers.get(_VERSION, "")[:40]
        call.attributes["http.response.status_code"] = response.status
        if response.status >= _FIRST_ERROR:
            call.error = str(response.status)
        return response

    def _whole(self, response: HTTPResponse) -> bytes:
        content = response.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            self._connection.close()
            raise HTTPException(_TOO_LARGE)
        if response.length:
            raise IncompleteRead(content, response.length)
        return content

    def _judged(self, response: HTTPResponse, content: bytes) -> Any:
        """Return the JSON of a success. Raises: the error of a problem; BackendUnavailable."""
        if _VERSION not in response.headers:
            raise self._foreign(response)
        if response.status == _NO_CONTENT:
            return None
        try:
            found = from_json(content)
        except ValueError:
            raise self._foreign(response) from None
        if response.status < _FIRST_REDIRECT:
            return found
        error = error_of(found) if _media_type(response) == "application/problem+json" else None
        raise error or self._foreign(response)

    def _values(self, response: HTTPResponse) -> Iterator[Any]:
        with self._understood():
            for line in self._lines(response):
                value: Any = from_json(line)
                if value == {"end": True}:
                    return
                if (error := error_in_stream(value)) is not None:
                    raise error
                yield value
            raise HTTPException("its answer ends early")

    def _lines(self, response: HTTPResponse) -> Iterator[bytes]:
        rest = b""
        while piece := response.read1(_PIECE):
            self._connection.begin()
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines
            if len(rest) > MOST_BYTES:
                raise HTTPException(_TOO_LARGE)

    @contextmanager
    def _understood(self) -> Generator[None]:
        """Raise BackendUnavailable `api.unavailable` for a request without a whole answer."""
        try:
            yield
        except (OSError, HTTPException, ValueError) as error:
            self._connection.close()
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> BackendUnavailable:
        reason = _reason(error)
        hint = "try again; `bazar config show` shows which URL is used"
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            reason = f"its certificate is not trusted: {getattr(error, 'verify_message', '') or reason}"
            hint = "name the file of your certificate authority in SSL_CERT_FILE, or correct BAZAR_API_URL"
        elif not isinstance(error, ConnectionRefusedError):
            hint = f"{hint}. A command that writes can be run again: it continues where it stopped"
        return BackendUnavailable(
            "api.unavailable",
            f"the API at {self._url} is not available: {reason}",
            hint=hint,
            details={"api_url": self._url},
        )

    def _foreign(self, response: HTTPResponse) -> BackendUnavailable:
        """Return the error for an answer that is not one of bazar's API."""
        self._connection.close()
        kind = _media_type(response)
        what = f"status {response.status}{f', {kind}' if kind else ''}"
        hint = "a proxy or a gateway may have answered: try again, or correct BAZAR_API_URL"
        if _FIRST_REDIRECT <= response.status < _FIRST_ERROR and response.headers.get("Location"):
            what += f", a redirect to {_origin(response.headers['Location'])}"
            hint = "bazar does not send the token there; BAZAR_API_URL must be the final address"
        return BackendUnavailable(
            "api.foreign_answer",
            f"the answer of {self._url} is not one of bazar's API: {what}",
            hint=hint,
            details={"api_url": self._url, "status": response.status},
        )

    def _timed(self, asked: Ask) -> AbstractContextManager[Call]:
        """Time the block as one call to the API. The template of the path names nobody."""
        path = PREFIX + asked.template
        attributes = {"http.request.method": asked.method, "url.full": self._url + path, "url.template": path}
        return timed(System.API, f"{asked.method} {path}", attributes)


def _proxy(url: str, environ: Mapping[str, str]) -> Proxy | None:
    if not url.startswith("https://"):
        return None
    from bazar_cli.adapters.remote.proxies import proxy_for

    return proxy_for(url, environ)


def _seconds_to_wait(asked: Ask, response: HTTPResponse) -> int | None:
    """Return the seconds after which a read is repeated; None for an answer that counts."""
    again = response.headers.get("Retry-After", "")
    is_busy = response.status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
    is_told = asked.method == "GET" and again.isascii() and again.isdecimal()
    return int(again[:9]) if is_busy and is_told else None


def _media_type(response: HTTPResponse) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()[:60]


def _reason(error: Exception) -> str:
    if isinstance(error, IncompleteRead):
        return "its answer ends early"
    if isinstance(error, TimeoutError):
        return "it gave no complete answer in time"
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return "its answer cannot be read"
    return getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__


def _origin(location: str) -> str:
    parts = taken_apart(location.partition("?")[0])
    return f"{parts.scheme}://{parts.hosts}" if parts else "another path"
