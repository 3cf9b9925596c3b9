"""A process with everything imported that forks a fresh `bazar` for each command of the tests.

Importing the libraries takes longer than most commands; two thousand process starts would take the whole
run. Each command still is a process of its own with its own environment, folder and streams. What a start
imports, and commands that meet signals or terminals, are tested with processes started the usual way.

Run as `python -m tests.support.zygote SOCKET`; ends when its parent does.
"""

from __future__ import annotations

import gc
import json
import os
import pkgutil
import signal
import socket
import sys
import time
from importlib import import_module
from typing import Any, NoReturn

_REQUEST_BYTES = 1 << 20
_LIBRARIES = (
    "typer",
    "sqlalchemy.dialects.postgresql.psycopg",
    "pydantic_settings",
    "jwt",
    "supabase_auth",
    "alembic.command",
    "yaml",
    # What the libraries above import only when they first connect, verify or parse.
    "httpcore",
    "encodings.idna",
    "cryptography.hazmat.backends.openssl.backend",
    "typer._click.decorators",
)


def _preload() -> None:
    import bazar_cli

    for library in _LIBRARIES:
        import_module(library)
    for module in pkgutil.walk_packages(bazar_cli.__path__, "bazar_cli."):
        if not module.name.endswith("__main__") and ".devstack." not in module.name:
            import_module(module.name)
    import_module("bazar_cli.devstack.stack")
    gc.freeze()


def _become(request: dict[str, Any], streams: list[int]) -> NoReturn:
    """Be the command: its environment, folder, streams and arguments, then its exit code."""
    code = 1
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.environ.clear()
        os.environ.update(request["environ"])
        os.chdir(request["cwd"])
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        sys.argv = ["bazar", *request["words"]]
        from bazar_cli.main import main

        code = main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException as error:  # noqa: BLE001 - as the interpreter itself would
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:
            # The exit code of an interpreter that cannot flush its streams.
            code = 120
        os._exit(code)


def _serve(connection: socket.socket) -> NoReturn:
    """Fork the command, wait for it, and tell how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    data, streams, _, _ = socket.recv_fds(connection, _REQUEST_BYTES, 3)
    while not data.endswith(b"\n"):
        data += connection.recv(_REQUEST_BYTES)
    request = json.loads(data)
    child = os.fork()
    if child == 0:
        connection.close()
        _become(request, streams)
    for stream in streams:
        os.close(stream)
    if request["kill_after"] is not None:
        time.sleep(request["kill_after"])
        os.kill(child, signal.SIGKILL)  # one that has ended keeps its pid until it is waited for
    _, status = os.waitpid(child, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def main() -> None:
    """Listen, and fork for each connection, until standard input ends."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen(64)
    _preload()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    import select

    while True:
        readable, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in readable:
            return
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _serve(connection)
        connection.close()


if __name__ == "__main__":
    main()
