"""A command that the fork server runs, used as a `subprocess.Popen`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from tests.support.fork_requests import send

_ENDS = {"stdin": ("rb", "wb"), "stdout": ("wb", "rb"), "stderr": ("wb", "rb")}
"""How the command and the test open the two ends of a pipe."""


class ForkedProcess(subprocess.Popen[bytes]):
    """A running command. It has no process of its own to start: it overrides all that `Popen` does with one.

    Parameters: `connection` leads to the fork server; the streams are as those of `Popen`.
    """

    def __init__(  # pyright: ignore[reportMissingSuperCall] - that would start a process
        self, connection: socket.socket, request: Mapping[str, object], words: Sequence[str], streams: Mapping[str, Any]
    ) -> None:
        self.args = list(words)
        self.returncode: Any = None
        self._connection = connection
        self._received = b""
        self._lock = threading.Lock()
        self.stdin, self.stdout, self.stderr = None, None, None
        opened: list[int] = []
        given: list[int] = []
        for name, stream in streams.items():
            if stream == subprocess.PIPE:
                reader, writer = os.pipe()
                theirs, ours = (reader, writer) if name == "stdin" else (writer, reader)
                setattr(self, name, os.fdopen(ours, _ENDS[name][1]))
                opened.append(theirs)
            elif stream == subprocess.DEVNULL:
                theirs = os.open(os.devnull, os.O_RDWR)
                opened.append(theirs)
            else:
                theirs = stream if isinstance(stream, int) else stream.fileno()
            given.append(theirs)
        try:
            send(connection, request, given)
        finally:
            for end in opened:
                os.close(end)
        self.pid = int(self._answer())

    def poll(self) -> int | None:
        """Return the exit code of a command that has ended."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code, which is negative for a signal."""
        with self._lock:
            if self.returncode is None:
                self._connection.settimeout(timeout)
                try:
                    self.returncode = int(self._answer())
                except (TimeoutError, BlockingIOError) as late:
                    raise subprocess.TimeoutExpired(self.args, timeout or 0) from late
                self._connection.close()
            return self.returncode

    def communicate(self, input: bytes | None = None, timeout: float | None = None) -> tuple[Any, Any]:  # noqa: A002
        """Write `input`, read both streams to their ends, and wait."""
        read: dict[str, bytes] = {}

        def read_all(name: str, stream: IO[bytes]) -> None:
            with stream:
                read[name] = stream.read()

        outputs = {"stdout": self.stdout, "stderr": self.stderr}
        readers = [
            threading.Thread(target=read_all, args=(name, stream))
            for name, stream in outputs.items()
            if stream is not None and not stream.closed
        ]
        for reader in readers:
            reader.start()
        if self.stdin is not None and not self.stdin.closed:
            try:
                self.stdin.write(input or b"")
                self.stdin.close()
            except BrokenPipeError:
                pass
        for reader in readers:
            reader.join()
        self.wait(timeout)
        out, err = (read.get(name, None if stream is None else b"") for name, stream in outputs.items())
        return out, err

    def send_signal(self, sig: int) -> None:
        """Send a signal to a command that has not ended."""
        if self.poll() is None:
            # It may end now: the fork server, not this process, waits for it.
            with suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def terminate(self) -> None:
        """End it with SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _answer(self) -> bytes:
        """Return one line of the fork server, of which a part may have come before a timeout."""
        while not self._received.endswith(b"\n"):
            piece = self._connection.recv(1)
            assert piece, "the fork server is gone"
            self._received += piece
        line, self._received = self._received, b""
        return line
