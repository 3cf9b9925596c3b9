"""The Auth service alone in the foreground: `python -m bazar_cli.devstack.auth --port 9999`.

Settings come from the environment, by GoTrue's names; see the README of this folder.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys

from bazar_cli.devstack.auth.config import AuthConfig, listen_address
from bazar_cli.devstack.auth.server import serve
from bazar_cli.domain.errors import BazarError


def main() -> int:
    """Serve until interrupted; return the exit code of the command-line contract."""
    parser = argparse.ArgumentParser(prog="python -m bazar_cli.devstack.auth", description=__doc__)
    parser.add_argument("--host", help="default 127.0.0.1")
    parser.add_argument("--port", help="default 9999; 0 chooses a free one")
    parser.add_argument("--prefix", help="path below which it serves, '' for none; default /auth/v1")
    try:
        return _run(parser.parse_args())
    except BazarError as error:
        sys.stderr.write(f"error: {error.message}\nhint: {error.hint}\n")
        return int(error.exit_code)


def _run(given: argparse.Namespace) -> int:
    environ = dict(os.environ)
    if given.prefix is not None:
        environ["BAZAR_AUTH_PREFIX"] = given.prefix
    host, port = listen_address(environ, given.host, given.port)
    config = AuthConfig.from_environ(environ)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, UnicodeError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or "it is not a valid host name"
        sys.stderr.write(f"error: cannot listen on {host}:{port}: {reason}\n")
        return 2
    listener.listen(128)
    address = f"http://{host}:{listener.getsockname()[1]}{config.prefix}"
    if "API_EXTERNAL_URL" not in environ:
        config = AuthConfig.from_environ({**environ, "API_EXTERNAL_URL": address})

    def on_ready() -> None:
        sys.stdout.write(f"{address}\n")
        sys.stdout.flush()

    serve(config, listener, on_ready)
    return 0


if __name__ == "__main__":
    sys.exit(main())
