"""`bazar serve`: a socket, and one process or several that serve the application on it."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bazar_cli.api.app import Settings, create_app
from bazar_cli.api.serving import metrics, process
from bazar_cli.api.serving.front import Front
from bazar_cli.api.serving.readiness import Readiness
from bazar_cli.api.serving.records import Records
from bazar_cli.api.serving.workers import Workers
from bazar_cli.domain.calls import Calls
from bazar_cli.domain.errors import BackendUnavailable, UsageError
from bazar_cli.domain.secrets import announced_to
from bazar_cli.services.gate.service import Places, Service
from bazar_cli.services.server_traces import ServerTraces, is_wanted

if TYPE_CHECKING:
    from bazar_cli.api.calls import Hider
    from bazar_cli.domain.serve import Serve
    from bazar_cli.domain.target import Target

_BACKLOG = 2048
_OF_OPERATORS = ("SUPERUSER_EMAIL", "SUPERUSER_PASSWORD", "BAZAR_TOKEN")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Surroundings:
    """What the command lends the server."""

    environ: Mapping[str, str]
    """Names a collector of traces."""
    hider: Callable[[], Hider]
    """Makes what hides the secrets of one request."""
    hide: Callable[[str], str]
    """Hides the secrets of the target."""
    say: Callable[[str], None]
    """Tells people where the server listens."""


def serve(target: Target, request: Serve, around: Surroundings) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP, and return when the requests in hand have ended.

    Raises: UsageError `serve.address_invalid`; BackendUnavailable `serve.port_taken`.
    """
    # No request is ever served with them, and a child of this process or a dump of it has no need of them.
    for name in _OF_OPERATORS:
        os.environ.pop(name, None)
    # Its lines have addresses of users in queries; the access log has how long the calls of each request took.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    listener = _listening(request.host, request.port)
    folder, of_metrics = "", None
    try:
        if request.metrics_port is not None:
            of_metrics = _listening(request.host, request.metrics_port)
            around.say(f"metrics at {_url(of_metrics)}/metrics")
            folder = metrics.share_among_workers() if request.workers > 1 else ""
        url = _url(listener)
        _log.info("listening on %s", url)
        around.say(f"serving {target.supabase_url} at {url}; Ctrl-C stops it")
        # Each request hides its secrets, and has its calls and its trace: gathered here, they would fill the memory.
        with announced_to(lambda _secret: None), Calls().recording():
            if request.workers == 1:
                _work(target, request, around, listener, of_metrics)
            else:
                _watch(target, request, around, listener, of_metrics)
    finally:
        listener.close()
        if of_metrics:
            of_metrics.close()
        if folder:
            metrics.forget(folder)


def _watch(
    target: Target, request: Serve, around: Surroundings, listener: socket.socket, of_metrics: socket.socket | None
) -> None:
    def work(parent: int) -> None:
        _work(target, request, around, listener, of_metrics, parent)

    workers = [work] * request.workers
    if of_metrics is None:
        Workers(workers, lambda _pid: None).run()
    else:
        Workers([*workers, partial(_serve_metrics, of_metrics)], metrics.worker_ended).run()


def _serve_metrics(listener: socket.socket, parent: int) -> None:
    """Serve the metrics of all workers until a signal ends this process, or its parent has ended."""
    metrics.serve(listener)
    os.read(parent, 1)


def _work(
    target: Target,
    request: Serve,
    around: Surroundings,
    listener: socket.socket,
    of_metrics: socket.socket | None,
    parent: int = -1,
) -> None:
    """Serve in this process.

    Parameters: `of_metrics` is where metrics are served, by this process if it is no worker; `parent` is the pipe of a
    worker.
    """
    places = Places.sharing(request.connections)
    service = Service(target, issuer=request.issuer, places=places)
    traces = ServerTraces(around.environ, around.hide) if is_wanted(around.environ) else None
    measured = metrics.Metrics(lambda: service.connections_in_use) if of_metrics else None
    if of_metrics and parent < 0:
        metrics.serve(of_metrics)
    try:
        settings = Settings(places.reads, places.writes, places.streams, request.origins)
        readiness = Readiness(service.check)
        app = create_app(service, around.hider, settings)
        front = Front(app, readiness, Records(measured, traces), proxied=request.proxy_headers)
        process.run(front, listener, readiness, root_path=request.root_path, drain=request.drain, parent=parent)
    finally:
        service.close()
        if traces:
            traces.close()


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise _no_address(host, error) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # An answer is two writes, head and body. With Nagle's algorithm the body waits for an acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno in {errno.EADDRINUSE, errno.EACCES}:
            raise BackendUnavailable(
                "serve.port_taken",
                f"the server cannot listen on {_named(host)}:{port}: {error.strerror}",
                hint="end the program that listens there, or choose another --port",
            ) from error
        raise _no_address(host, error) from error
    return listener


def _no_address(host: str, error: Exception) -> UsageError:
    reason = getattr(error, "strerror", None) or str(error)
    return UsageError(
        "serve.address_invalid",
        f"--host {host!r} is no address of this machine: {reason}",
        hint="127.0.0.1 serves this machine only, 0.0.0.0 every network of it",
    )


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{_named(host)}:{port}"


def _named(host: str) -> str:
    return f"[{host}]" if ":" in host else host
