"""`serve`: how a server process listens, and how much it does at once."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bazar_cli.domain.authz.spec import public
from bazar_cli.domain.errors import UsageError

SERVE = public("serve", "it holds the target, and checks every request as a command")

MAX_WORKERS = 64
LEAST_CONNECTIONS, MOST_CONNECTIONS = 3, 200
"""One connection at least for each of reads, writes and streams."""
LONGEST_DRAIN_SECONDS = 300.0
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(?::[0-9]{1,5})?|https?://\[[0-9a-f:]+\](?::[0-9]{1,5})?")


@dataclass(frozen=True)
class Serve:
    """The request of `serve`."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0 for one that is free."""
    workers: int = 1
    """Processes that serve."""
    connections: int = 12
    """Connections to Postgres of each process at most; as many use cases run at once."""
    root_path: str = ""
    """The path that a proxy in front of the server removes."""
    proxy_headers: bool = False
    """A proxy in front of the server writes the last address of X-Forwarded-For, and X-Forwarded-Proto."""
    issuer: str = ""
    """The `iss` of access tokens, "" for that of SUPABASE_URL."""
    metrics_port: int | None = None
    drain: float = 2.0
    """How long /readyz answers 503 after SIGTERM before the server takes no more connections, in seconds."""
    origins: tuple[str, ...] = ()
    """The web pages, by their origin, that browsers let read answers."""


def checked(request: Serve) -> Serve:
    """Return the request. Raises: UsageError `serve.option_invalid`."""
    for option, value, least, most in (
        ("--port", request.port, 0, 65_535),
        ("--metrics-port", request.metrics_port, 0, 65_535),
        ("--workers", request.workers, 1, MAX_WORKERS),
        ("--connections", request.connections, LEAST_CONNECTIONS, MOST_CONNECTIONS),
        ("--drain", request.drain, 0, LONGEST_DRAIN_SECONDS),
    ):
        if value is not None and not least <= value <= most:
            raise _invalid(
                f"{option} is {value:g}, and must be from {least:g} to {most:g}", "give a number in this range"
            )
    root = request.root_path
    if root and (not root.startswith("/") or root.endswith("/") or not root.isascii() or not root.isprintable()):
        raise _invalid(f"--root-path is {root!r}, and must begin with / and not end with it", "such as /bazar")
    for origin in request.origins:
        if not _ORIGIN.fullmatch(origin):
            raise _invalid(f"--origins has {origin!r}, which is no origin", "such as https://app.example.com")
    return request


def _invalid(message: str, hint: str) -> UsageError:
    return UsageError("serve.option_invalid", message, hint=hint)
