"""The background Auth service: `python -m bazar_cli.devstack.service_main`, with its settings on stdin."""

from __future__ import annotations

import logging
import socket
import sys
import time
from collections.abc import Callable, Mapping

from bazar_cli.devstack.service import run_child


def serve_auth(environ: Mapping[str, str], listener: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve Supabase's Auth protocol on `listener` until SIGTERM."""
    from bazar_cli.devstack.auth.config import AuthConfig
    from bazar_cli.devstack.auth.server import serve

    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s UTC %(levelname)s %(name)s: %(message)s"
    )
    # Its lines hold URLs with the tokens of links.
    logging.getLogger("uvicorn.access").disabled = True
    serve(AuthConfig.from_environ(environ), listener, on_ready)


if __name__ == "__main__":
    sys.exit(run_child(serve_auth))
