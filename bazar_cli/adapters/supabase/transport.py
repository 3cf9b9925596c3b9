"""The HTTP client: every call ends within a deadline, and every answer has a maximum size.

httpx restarts its timeouts with each read. Here one deadline covers the whole call: name look-up, connecting, TLS,
sending, and all pieces of the answer. A call that exceeds a limit raises `httpx.RequestError`, like a lost connection:
it is unknown whether the service acted.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urlsplit

import httpcore
import httpx

from bazar_cli.domain.calls import Call, System, timed, trace_headers

CALL_SECONDS = 10.0
"""Below the 20 s of a lease, so that a call ends while the command holds its lease."""
MOST_BYTES = 16 * 2**20
"""The limit of a received answer, with headers and framing, and also of the decompressed body."""
MOST_LEVELS = 100
"""The deepest nesting of objects and lists. The parsers of Python and of pydantic fail at about 900 and 200."""
ACCEPTED = {"Accept-Encoding": "gzip"}
"""The content coding that `whole_answer` can limit."""
_MOST_CONNECTIONS = 200
"""More than the threads of a server process, so that a call never waits for the connection of another."""
_CONNECT_RETRIES = 2
"""Only for connecting: a request is never sent twice."""
TOO_LARGE = f"its answer is larger than {MOST_BYTES // 2**20} MiB"
KEPT_SECONDS = 5.0
"""How long an idle connection is kept."""
_NO_JSON = "its answer is not the JSON of Supabase Auth; a proxy or a gateway may have answered"
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def open_client(*, tls: bool, seconds: float | None = None) -> httpx.Client:
    """Open the connections of one command, without the proxy and netrc settings of the shell and without cookies.

    Several threads may use the client, each for one call at a time: so does a server process.
    Parameters: `tls` says whether certificates can be needed: loading the CA bundle takes 44-114 ms. `seconds` is
    the deadline of each call, `CALL_SECONDS` unless given.
    """
    transport = _Transport(httpx.create_ssl_context(verify=tls), seconds or CALL_SECONDS)
    cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    return httpx.Client(transport=transport, headers=ACCEPTED, trust_env=False, follow_redirects=False, cookies=cookies)


class _Transport(httpx.BaseTransport):
    """Sends one request after another, and returns complete answers."""

    def __init__(self, context: ssl.SSLContext, seconds: float) -> None:
        self._call = _Call(seconds)
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=_MOST_CONNECTIONS,
            keepalive_expiry=KEPT_SECONDS,
            retries=_CONNECT_RETRIES,
            network_backend=_Network(self._call),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer. Raises: httpx.RequestError, also for a call that exceeds a limit."""
        with timed_request(request) as call:
            answer = self._exchange(request)
            note_status(call, answer)
        return answer

    def _exchange(self, request: httpx.Request) -> httpx.Response:
        self._call.begin()
        asked = httpcore.Request(
            request.method,
            httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=request.read(),
        )
        with _as_httpx(self._call.seconds):
            answer = self._pool.handle_request(asked)
            try:
                body = b"".join(answer.iter_stream())
            finally:
                answer.close()
        return whole_answer(answer.status, httpx.Headers(answer.headers), body)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


@contextmanager
def timed_request(request: httpx.Request) -> Generator[Call]:
    """Time the block as one call to Supabase Auth, and give the request the headers of a trace."""
    template = _ID.sub("{id}", request.url.path)
    with timed(System.AUTH, f"{request.method} {template}", _attributes(request, template)) as call:
        request.headers.update(trace_headers(call))
        yield call


def note_status(call: Call, answer: httpx.Response) -> None:
    """Write the status of an answer into the call that got it."""
    call.attributes["http.response.status_code"] = answer.status_code
    if answer.is_error:
        call.error = str(answer.status_code)


def whole_answer(status: int, headers: httpx.Headers, body: bytes) -> httpx.Response:
    """Return a received answer, decompressed and checked.

    Raises: httpx.RequestError for an answer that exceeds a limit, redirects, or is not one of Supabase Auth's.
    """
    body = _inflated(body, headers.pop("Content-Encoding", "identity"))
    whole = httpx.Response(status, headers=headers, content=body)
    _check(whole)
    return whole


def too_slow(seconds: float) -> httpx.TransportError:
    """Return the error of a call that exceeds its deadline."""
    return httpx.TransportError(f"the call took longer than {seconds:g} s")


def _attributes(request: httpx.Request, template: str) -> dict[str, str | int]:
    """Return attributes of OpenTelemetry's HTTP conventions, without account, query and headers."""
    url = request.url
    port = url.port or (443 if url.scheme == "https" else 80)
    return {
        "http.request.method": request.method,
        "url.full": f"{url.scheme}://{url.host}:{port}{url.path}",
        "url.template": template,
        "server.address": url.host,
        "server.port": port,
    }


class _Call(threading.local):
    """The current call of a thread: its deadline, and how many bytes may still be received."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.begin()

    def begin(self) -> None:
        """Start the next call."""
        self._ends = time.monotonic() + self.seconds
        self._room = MOST_BYTES

    def left(self, over: type[httpcore.TimeoutException], timeout: float | None = None) -> float:
        """Return the seconds that are left, `timeout` at most, always above 0. Raises: `over` when none are left."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise over
        return left if timeout is None else min(left, timeout)

    def take(self, count: int) -> None:
        """Count received bytes. Raises: httpcore.RemoteProtocolError when there are too many."""
        self._room -= count
        if self._room < 0:
            raise httpcore.RemoteProtocolError(TOO_LARGE)


class _Network(httpcore.SyncBackend):
    """Connects within the time that a call has left."""

    def __init__(self, call: _Call) -> None:
        self._call = call

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Try the addresses of a host in turn; each gets an equal share of the time that is left."""
        addresses = _addresses(host, port, self._call.left(httpcore.ConnectTimeout, timeout))
        for rest in range(len(addresses), 0, -1):
            share = self._call.left(httpcore.ConnectTimeout) / rest
            try:
                made = super().connect_tcp(addresses[-rest], port, share, local_address, socket_options)
                return _Stream(made, self._call)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if rest == 1:
                    raise
        raise AssertionError("a host that was found has an address")

    def sleep(self, seconds: float) -> None:
        """Wait before connecting is tried again."""
        super().sleep(min(seconds, self._call.left(httpcore.ConnectTimeout)))


class _Stream(httpcore.NetworkStream):
    """A connection whose reads and writes end with the call."""

    def __init__(self, made: httpcore.NetworkStream, call: _Call) -> None:
        self._made = made
        self._call = call

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read received bytes."""
        data = self._made.read(max_bytes, self._call.left(httpcore.ReadTimeout, timeout))
        self._call.take(len(data))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all bytes. The stream's own `write` would allow the whole timeout for each piece."""
        connected: socket.socket = self._made.get_extra_info("socket")
        while buffer:
            connected.settimeout(self._call.left(httpcore.WriteTimeout, timeout))
            try:
                buffer = buffer[connected.send(buffer) :]
            except TimeoutError as error:
                raise httpcore.WriteTimeout(str(error)) from error
            except OSError as error:
                raise httpcore.WriteError(str(error)) from error

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Encrypt the connection, with one timeout for the whole handshake."""
        left = self._call.left(httpcore.ConnectTimeout, timeout)
        return _Stream(self._made.start_tls(ssl_context, server_hostname, left), self._call)

    def close(self) -> None:
        """Close the connection."""
        self._made.close()

    def get_extra_info(self, info: str) -> object:
        """Return information about the connection."""
        return self._made.get_extra_info(info)


def _addresses(host: str, port: int, seconds: float) -> list[str]:
    """Return the addresses of a host. A name look-up cannot be cancelled, so its thread is left at the deadline."""
    try:
        return _looked_up(host, port, socket.AI_NUMERICHOST)
    except OSError:
        pass
    found: list[list[str] | Exception] = []

    def look_up() -> None:
        try:
            found.append(_looked_up(host, port))
        except (OSError, UnicodeError) as error:  # UnicodeError: an invalid label
            found.append(error)

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        raise httpcore.ConnectTimeout
    if isinstance(found[0], Exception):
        raise httpcore.ConnectError(str(found[0])) from found[0]
    return found[0]


def _looked_up(host: str, port: int, flags: int = 0) -> list[str]:
    known = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    # An IPv6 address may need its network interface.
    return [f"{at[0]}%{at[3]}" if len(at) == 4 and at[3] else str(at[0]) for *_, at in known]


@contextmanager
def _as_httpx(seconds: float) -> Generator[None]:
    try:
        yield
    except httpcore.TimeoutException as error:
        raise too_slow(seconds) from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
        raise httpx.TransportError(str(error) or type(error).__name__) from error


def _inflated(body: bytes, coding: str) -> bytes:
    """Return a decompressed body."""
    if coding.lower() in {"", "identity"}:
        return body
    if coding.lower() not in {"gzip", "x-gzip"}:
        raise httpx.DecodingError(f"its answer has a content coding that was not requested: {coding[:40]}")
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        inflated = inflater.decompress(body, MOST_BYTES + 1)
    except zlib.error as error:
        raise httpx.DecodingError(f"its answer cannot be decompressed: {error}") from error
    if len(inflated) > MOST_BYTES:
        raise httpx.DecodingError(TOO_LARGE)
    if not inflater.eof:
        raise httpx.DecodingError("its answer ends early")
    return inflated


def _check(answer: httpx.Response) -> None:
    """Refuse a redirect, deeply nested JSON, and a success that is not JSON.

    A success of Supabase Auth is an object, or 204 without a body. A page with the status 200 comes from a proxy or a
    gateway, and must not be read as, for example, a successful deletion.
    """
    if answer.has_redirect_location:
        raise httpx.RemoteProtocolError(
            f"it redirects to {_origin(answer.headers.get('Location', ''))}, and bazar does not send the keys there;"
            " SUPABASE_URL must be the final address"
        )
    if _is_deep(answer.content):
        raise httpx.DecodingError(f"its answer has more than {MOST_LEVELS} nested levels")
    if answer.is_success and answer.status_code != HTTPStatus.NO_CONTENT:
        try:
            whole = json.loads(answer.content.decode(), parse_constant=_no_constant)
            if _SURROGATE.search(answer.content):
                json.dumps(whole, ensure_ascii=False).encode()
        except ValueError as error:  # also for a number with too many digits, and for half a surrogate pair
            raise httpx.DecodingError(_NO_JSON) from error
        if not isinstance(whole, dict):
            raise httpx.DecodingError(_NO_JSON)


def _is_deep(body: bytes) -> bool:
    """Whether JSON is nested too deeply; undefined for other texts."""
    if body.count(b"[") + body.count(b"{") <= MOST_LEVELS or body.lstrip()[:1] not in {b"[", b"{"}:
        return False
    # Removes escapes, then strings, by patterns that need no extra memory.
    bare = re.sub(rb'"[^"]*(?:"|\Z)', b"", re.sub(rb"\\.", b"", body, flags=re.DOTALL))
    level = 0
    for bracket in re.sub(rb"[^][{}]+", b"", bare):
        level += 1 if bracket in b"[{" else -1
        if level > MOST_LEVELS:
            return True
    return False


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number in JSON")


def _origin(location: str) -> str:
    """Return the origin of a redirect's target, without its path and query, which may be secret."""
    try:
        parts = urlsplit(location)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "an address that cannot be read"
    return f"{parts.scheme}://{host}{'' if port is None else f':{port}'}" if host else "another path"
