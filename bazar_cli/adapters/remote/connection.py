"""One kept connection to the API, with a deadline for each call."""

from __future__ import annotations

import io
import selectors
import socket
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING, Any

from bazar_cli.domain.urls import taken_apart

if TYPE_CHECKING:
    from bazar_cli.adapters.remote.proxies import Proxy

CONNECT_SECONDS = 10.0
CALL_SECONDS = 60.0
"""For one answer, or the next piece of a stream. The server ends its own waits far earlier."""
_HTTPS_PORT = 443


class Connection:
    """Sends one request after another. It is opened for the first one, and again after the server closed it."""

    def __init__(self, url: str, proxy: Proxy | None) -> None:
        parts = taken_apart(url)
        assert parts is not None, "the URL of a target was checked"
        self._deadline = _Deadline()
        self._path = parts.path
        self._answer: HTTPResponse | None = None
        self._made = _made(parts.host, _port_of(parts.hosts), parts.scheme == "https", proxy, self._deadline)

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> HTTPResponse:
        """Send a request and return the answer, of which the body is not read yet.

        Only a read is sent twice: where the server closed a kept connection at the same moment.
        Raises: OSError, http.client.HTTPException.
        """
        if _is_stale(self._made.sock):
            self.close()
        again = self._made.sock is not None and method == "GET"
        try:
            return self._sent(method, path, headers, body)
        except ConnectionError:  # also http.client.RemoteDisconnected
            if not again:
                raise
            return self._sent(method, path, headers, body)

    def _sent(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> HTTPResponse:
        self.begin()
        try:
            self._made.request(method, self._path + path, body, dict(headers))
            self._answer = self._made.getresponse()
        except BaseException:  # also Ctrl-C: the rest of an answer must not be read as the next one
            self.close()
            raise
        return self._answer

    def begin(self) -> None:
        """Give the next piece of an answer the whole time again."""
        self._deadline.begin()

    def close(self) -> None:
        """Close the connection, and an answer that was not read to its end."""
        if self._answer is not None:
            self._answer.close()
        self._made.close()


class _Deadline:
    """When the present call must have ended."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self._ends = time.monotonic() + CALL_SECONDS

    def left(self) -> float:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _TimedSocket:
    """A socket whose reads and writes end with the call: http.client would restart its timeout with each of them."""

    def __init__(self, made: socket.socket, deadline: _Deadline) -> None:
        self._made = made
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            self._made.settimeout(self._deadline.left())
            rest = rest[self._made.send(rest) :]

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._made, self._deadline))

    def fileno(self) -> int:
        return self._made.fileno()

    def close(self) -> None:
        self._made.close()


class _TimedReader(io.RawIOBase):
    """Reads a socket. While it is open, closing the socket waits for it, as http.client expects."""

    def __init__(self, made: socket.socket, deadline: _Deadline) -> None:
        super().__init__()
        self._made = made
        self._raw = made.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._made.settimeout(self._deadline.left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Plain(HTTPConnection):
    deadline: _Deadline

    def connect(self) -> None:
        super().connect()
        self.sock = _TimedSocket(self.sock, self.deadline)


class _Encrypted(HTTPSConnection):
    deadline: _Deadline

    def connect(self) -> None:
        super().connect()
        self.sock = _TimedSocket(self.sock, self.deadline)


def _made(host: str, port: int | None, encrypted: bool, proxy: Proxy | None, deadline: _Deadline) -> HTTPConnection:
    if not encrypted:
        plain = _Plain(host, port, timeout=CONNECT_SECONDS)
        plain.deadline = deadline
        return plain
    import ssl

    context = ssl.create_default_context()
    via = (host, port) if proxy is None else (proxy.host, proxy.port)
    made = _Encrypted(*via, timeout=CONNECT_SECONDS, context=context)
    made.deadline = deadline
    if proxy is not None:
        made.set_tunnel(host, port or _HTTPS_PORT, proxy.headers)
    return made


def _port_of(hosts: str) -> int | None:
    port = hosts.rpartition("]")[2].partition(":")[2]
    return int(port) if port else None


def _is_stale(sock: Any) -> bool:
    """Say whether the server closed a kept connection, which alone makes it readable before a request."""
    if sock is None:
        return False
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))
