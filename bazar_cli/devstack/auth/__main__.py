"""The Auth service alone in the foreground: `python -m bazar_cli.devstack.auth --port 9999`.

Settings come from the environment, by GoTrue's names; see the README of this folder.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys

from bazar_cli.devstack.auth.config import AuthConfig
from bazar_cli.devstack.auth.server import serve
from bazar_cli.domain.errors import BazarError


def main() -> int:
    """Serve until interrupted; return the exit code of the command-line contract."""
    parser = argparse.ArgumentParser(prog="python -m bazar_cli.devstack.auth", description=__doc__)
    parser.add_argument("--host", default=os.environ.get("API_HOST", "127.0.0.1"))
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "9999")), help="0 chooses a free one")
    parser.add_argument("--prefix", help="path below which it serves, '' for none; default /auth/v1")
    given = parser.parse_args()
    environ = dict(os.environ)
    if given.prefix is not None:
        environ["BAZAR_AUTH_PREFIX"] = given.prefix
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((given.host, given.port))
    except OSError as error:
        sys.stderr.write(f"error: cannot listen on {given.host}:{given.port}: {error.strerror}\n")
        return 2
    listener.listen(128)
    address = f"http://{given.host}:{listener.getsockname()[1]}{environ.get('BAZAR_AUTH_PREFIX', '/auth/v1')}"
    environ.setdefault("API_EXTERNAL_URL", address)

    def on_ready() -> None:
        sys.stdout.write(f"{address}\n")
        sys.stdout.flush()

    try:
        serve(AuthConfig.from_environ(environ), listener, on_ready)
    except BazarError as error:
        sys.stderr.write(f"error: {error.message}\nhint: {error.hint}\n")
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
