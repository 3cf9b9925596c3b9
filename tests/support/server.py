"""`bazar serve` of a test: started, asked, and read to its end."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.api_server import Api
from tests.support.cli import Bazar
from tests.support.waiting import poll

_URL = re.compile(r"serving \S+ at (\S+);")
_METRICS = re.compile(r"metrics at (\S+)")


@dataclass
class Server:
    """A server that runs."""

    process: subprocess.Popen[bytes]
    lines: list[str] = field(default_factory=list[str])
    """What it has written to standard error so far."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._found(_URL)

    @property
    def metrics_url(self) -> str:
        """Where its metrics are."""
        return self._found(_METRICS)

    def by(self, token: str | None) -> Api:
        """Return a client with a token."""
        return Api(self.url, token)

    @property
    def log(self) -> list[dict[str, Any]]:
        """The log records so far."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    def requests(self, **wanted: object) -> list[dict[str, Any]]:
        """Return the records of the access log that have these values."""
        return [r for r in self.log if r.get("event") == "request" and all(r.get(k) == v for k, v in wanted.items())]

    def request(self, **wanted: object) -> dict[str, Any]:
        """Return the one record of the access log with these values: it is written after the answer is sent."""
        [found] = poll(lambda: self.requests(**wanted))
        return found

    def is_ready(self) -> bool:
        """Say whether /readyz does."""
        return self.by(None).ask("GET", "//readyz").status == 200

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait()

    def _found(self, pattern: re.Pattern[str]) -> str:
        """Return what a line says, once it is written; fail where the server ended before."""

        def look() -> str | None:
            for line in tuple(self.lines):
                if found := pattern.search(line):
                    return found[1]
            assert self.process.poll() is None, "\n".join(self.lines)
            return None

        return str(poll(look))


@contextmanager
def running_server(bazar: Bazar, *options: str) -> Generator[Server]:
    """Run `bazar serve` of a target until the block ends, without a drain unless an option gives one."""
    words = ("serve", "--port", "0", "--drain", "0", *options)
    with bazar.start(*words, stdout=subprocess.DEVNULL) as process:
        server, stream = Server(process), process.stderr
        assert stream is not None
        reader = threading.Thread(target=_read, args=(stream, server.lines))
        reader.start()
        try:
            yield server
        finally:
            if process.poll() is None:
                server.end()
            reader.join()


def _read(stream: Any, lines: list[str]) -> None:
    for line in stream:
        lines.append(line.decode())
