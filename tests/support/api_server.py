"""The API of one target as a process of its own, and a client that keeps the bytes of every answer."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bazar_cli.domain.target import Target
from tests.support.waiting import poll

SUPERUSER_PASSWORD = "Correct-horse-battery-7431"
"""In the environment of the server, where it must not count."""
_URL = re.compile(r"serving \S+ at (http://\S+);")


@dataclass(frozen=True)
class Reply:
    """One answer of the server."""

    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a problem."""
        assert self.headers["Content-Type"] == "application/problem+json", self.body
        return str(self.json["code"])


@dataclass
class Api:
    """Asks a server; `token` is sent unless a request has another one."""

    url: str
    token: str | None = None
    replies: list[bytes] = field(default_factory=list[bytes])
    """The heads and bodies of all answers."""

    def by(self, token: str | None) -> Api:
        """Return a client with another token, whose answers are kept here too."""
        return Api(self.url, token, self.replies)

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Reply:
        """Send one request; `path` is below /api/v1 unless it begins with two slashes; `raw` is sent as it is."""
        given = {"Authorization": f"Bearer {self.token}"} if self.token is not None else {}
        if body is not None or raw is not None:
            given["Content-Type"] = "application/json"
        content = raw if raw is not None else None if body is None else json.dumps(body).encode()
        target = path[1:] if path.startswith("//") else f"/api/v1{path}"
        with closing(HTTPConnection(urlsplit(self.url).netloc, timeout=60)) as connection:
            connection.request(method, target, content, {**given, **(headers or {})})
            answer = connection.getresponse()
            reply = Reply(answer.status, answer.headers, answer.read())
        self.replies.append(bytes(reply.headers) + reply.body)
        return reply


@contextmanager
def running_api(target: Target, log: Path, *options: str) -> Generator[Api]:
    """Run `bazar serve` with these options on a target until the block ends. Parameters: `log` gets what it writes."""
    environ = {
        "PATH": os.environ["PATH"],
        "SUPABASE_URL": target.supabase_url,
        "SUPABASE_KEY": target.supabase_key.reveal(),
        "DATABASE_URL": target.database_url.reveal(),
        "SUPERUSER_EMAIL": "first@example.com",
        "SUPERUSER_PASSWORD": SUPERUSER_PASSWORD,
        "BAZAR_CONFIG_DIR": str(log.parent),
        "BAZAR_DATA_DIR": str(log.parent),
    }
    command = [sys.executable, "-m", "bazar_cli", "serve", "--port", "0", "--drain", "0", *options]
    with log.open("w") as written, subprocess.Popen(command, env=environ, stderr=written) as process:
        try:
            found = poll(lambda: _URL.search(log.read_text()) or process.poll() is not None)
            assert isinstance(found, re.Match), log.read_text()
            yield Api(found[1])
        finally:
            process.terminate()
            assert process.wait() in {0, -signal.SIGTERM}, log.read_text()
