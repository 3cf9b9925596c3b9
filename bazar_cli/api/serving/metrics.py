"""Metrics of Prometheus, at a port of their own: nobody who reaches the API reaches them with it.

With several workers the library adds up files in PROMETHEUS_MULTIPROC_DIR, and chooses that way when it is imported.
So it is imported only after the folder is made.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bazar_cli.domain.calls import System

if TYPE_CHECKING:
    from bazar_cli.domain.calls import Calls

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The metrics of one process."""

    def __init__(self, connections_in_use: Callable[[], int]) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        labels = ("use_case", "method", "status")
        self._connections_in_use = connections_in_use
        self._requests = Counter("bazar_http_requests", "Requests that ended", labels)
        self._seconds = Histogram("bazar_http_request_seconds", "How long requests took", labels[:2], buckets=_BUCKETS)
        self._in_hand = Gauge("bazar_http_requests_in_hand", "Requests in hand", multiprocess_mode="livesum")
        self._calls = Counter("bazar_calls", "Calls to Postgres and Supabase Auth", ("system",))
        self._call_seconds = Counter("bazar_call_seconds", "How long these calls took together", ("system",))
        self._in_use = Gauge(
            "bazar_postgres_connections_in_use", "Connections to Postgres in use", multiprocess_mode="livesum"
        )

    def began(self) -> None:
        """Count a request that began."""
        self._in_hand.inc()
        self._in_use.set(self._connections_in_use())

    def ended(self, use_case: str | None, method: str, status: int, seconds: float, calls: Calls) -> None:
        """Count a request that ended. Parameters: `use_case` is None where no route serves it."""
        # Anybody can send another method; a label has only known values.
        known = method if use_case else ""
        self._in_hand.dec()
        self._requests.labels(use_case or "", known, str(status)).inc()
        self._seconds.labels(use_case or "", known).observe(seconds)
        for system in System:
            if calls.count(system):
                self._calls.labels(system.value).inc(calls.count(system))
                self._call_seconds.labels(system.value).inc(calls.milliseconds(system) / 1000)
        self._in_use.set(self._connections_in_use())


def serve(listener: socket.socket) -> None:
    """Serve the metrics of this process, or of all workers, by threads, on a socket that listens already."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = REGISTRY
    if _FOLDER in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = generate_latest(registry)
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE_LATEST)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    server = ThreadingHTTPServer(listener.getsockname()[:2], Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()


def share_among_workers() -> str:
    """Make the folder of the metrics of several workers, and return it; `forget` removes it."""
    os.environ[_FOLDER] = tempfile.mkdtemp(prefix="bazar-metrics-")
    return os.environ[_FOLDER]


def forget(folder: str) -> None:
    """Remove the folder of the metrics."""
    shutil.rmtree(folder, ignore_errors=True)


def worker_ended(pid: int) -> None:
    """Forget what only a living worker has, such as its requests in hand."""
    # As `prometheus_client.multiprocess.mark_process_dead`, without its import in the process that only watches.
    for path in Path(os.environ[_FOLDER]).glob(f"gauge_live*_{pid}.db"):
        path.unlink(missing_ok=True)
