"""Requests to the fork server. Imports the standard library only, so that the programs of a script can use it."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence

LAST = " last"
"""Behind the exit code of a command whose process runs no other one."""


def send(connection: socket.socket, request: Mapping[str, object], streams: Sequence[int]) -> None:
    """Ask for one command with these streams."""
    text = json.dumps(request).encode() + b"\n"
    sent = socket.send_fds(connection, [text], list(streams))
    if sent < len(text):  # else a fast command has closed its end by now, and sending nothing would fail
        connection.sendall(text[sent:])


def ask(connection: socket.socket, request: Mapping[str, object], streams: Sequence[int]) -> tuple[int, bool]:
    """Have one command run with these streams.

    Return its exit code, which is negative for a signal, and whether its process can run another one.
    """
    send(connection, request, streams)
    # Behind the first line is how the process ended, if it has ended by now.
    answer = connection.recv(16).decode().partition("\n")[0]
    code = int(answer.removesuffix(LAST))
    return code, bool(request.get("reusable")) and not answer.endswith(LAST) and code >= 0
