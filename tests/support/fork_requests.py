"""Requests to the fork server. Imports the standard library only, so that the programs of a script can use it."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence


def send(connection: socket.socket, request: Mapping[str, object], streams: Sequence[int]) -> None:
    """Ask for one command with these streams."""
    text = json.dumps(request).encode() + b"\n"
    sent = socket.send_fds(connection, [text], list(streams))
    if sent < len(text):  # else a fast command has closed its end by now, and sending nothing would fail
        connection.sendall(text[sent:])


def ask(connection: socket.socket, request: Mapping[str, object], streams: Sequence[int]) -> int:
    """Have one command run with these streams; return its exit code, which is negative for a signal."""
    send(connection, request, streams)
    return int(connection.recv(16))
