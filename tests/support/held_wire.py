"""A way to Supabase Auth that holds one request back, so that a test can kill whoever waits for the answer."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from bazar_cli.domain.target import Target


@dataclass(frozen=True)
class HeldWire:
    """The target to use, the event of the request's arrival, the one that lets it go, and what was asked."""

    target: Target
    held: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    requests: list[str] = field(default_factory=list[str])
    """Method and path of every request, the oldest first."""


@contextmanager
def held_wire(target: Target, method: str, path: str, *, arrives: bool) -> Generator[HeldWire]:
    """Pass everything on to `target`, but hold the first `method` request to `path...`.

    Parameters: `arrives` says whether Supabase gets that request before it is held; its answer is never sent.
    """
    wire = HeldWire(target)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            wire.requests.append(f"{self.command} {self.path}")
            hold = self.command == method and self.path.startswith(f"/auth/v1{path}") and not wire.held.is_set()
            answer = None if hold and not arrives else self._passed_on(body)
            if hold:
                wire.held.set()
                wire.release.wait()
                return
            assert answer is not None
            self.send_response(answer.status_code)
            for name in ("Content-Type", "X-Supabase-Api-Version"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - the library's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Keep the test's output clean."""

        def _passed_on(self, body: bytes) -> httpx.Response:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            url = target.supabase_url + self.path
            return httpx.request(self.command, url, headers=headers, content=body, trust_env=False, timeout=30)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            yield replace(wire, target=replace(target, supabase_url=f"http://127.0.0.1:{server.server_address[1]}"))
        finally:
            wire.release.set()
            server.shutdown()
