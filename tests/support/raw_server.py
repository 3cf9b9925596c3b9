"""A server that answers with the bytes that a test gives: slowly, without end, or not in HTTP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from bazar_cli.domain.target import Target

_DRIP_SECONDS = 0.005


@dataclass
class RawServer:
    """The answer to the next connections, in pieces that are written one by one."""

    url: str
    answer: Callable[[], Iterable[bytes]] = tuple
    reads: bool = True
    """Whether it reads the request first."""
    sent: int = 0
    """How many bytes went out so far."""
    requests: list[bytes] = field(default_factory=list[bytes])
    """The heads of the requests."""
    bodies: list[bytes] = field(default_factory=list[bytes])
    over: threading.Event = field(default_factory=threading.Event)

    def drips(self, answer: bytes) -> Iterable[bytes]:
        """Yield an answer a byte at a time, each but a moment after the one before; then keep the connection."""
        for byte in answer:
            if self.over.wait(_DRIP_SECONDS):
                return
            yield bytes([byte])
        self.over.wait()

    def instead_of(self, target: Target) -> Target:
        """The target whose Auth service is this server."""
        return replace(target, supabase_url=self.url)


@contextmanager
def raw_server() -> Generator[RawServer]:
    """Serve on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = RawServer(f"http://127.0.0.1:{listener.getsockname()[1]}")
        accepting = threading.Thread(target=_accept, args=(listener, server))
        accepting.start()
        try:
            yield server
        finally:
            server.over.set()
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()


def _accept(listener: socket.socket, server: RawServer) -> None:
    while not server.over.is_set():
        with suppress(OSError):
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(connection, server), daemon=True).start()


def _serve(connection: socket.socket, server: RawServer) -> None:
    with connection, suppress(OSError):
        if not server.reads:
            server.over.wait()
        elif not _request(connection, server):
            return
        for piece in server.answer():
            connection.sendall(piece)
            server.sent += len(piece)


def _request(connection: socket.socket, server: RawServer) -> bool:
    """Read one request; return whether there was one."""
    given = b""
    while b"\r\n\r\n" not in given:
        piece = connection.recv(65536)
        if not piece:
            return False
        given += piece
    head, _, body = given.partition(b"\r\n\r\n")
    server.requests.append(head)
    length = next((int(h[15:]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    server.bodies.append(body)
    return True
