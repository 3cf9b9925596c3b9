"""`bazar` as users run it: a process of its own, with an environment that holds nothing but what is given."""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from bazar_cli.domain.target import Target
from tests.support.shifted import python_module

_KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "COVERAGE_PROCESS_START")
_SECONDS = 120
"""No time limit of a test: only so that a hang ends the run with a trace."""


_PROGRAM = """\
#!{python} -IS
import json, os, socket, sys
request = {{"words": sys.argv[1:], "environ": dict(os.environ), "cwd": os.getcwd(), "kill_after": None}}
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect({path!r})
    text = json.dumps(request).encode() + b"\\n"
    sent = socket.send_fds(connection, [text], [0, 1, 2])
    connection.sendall(text[sent:])
    code = int(connection.recv(16))
sys.exit(code if code >= 0 else 128 - code)
"""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error object of standard error, its last line."""
        return json.loads(self.err.strip().splitlines()[-1])["error"]

    def ok(self) -> Done:
        """Return itself if the command succeeded; else fail with what it said."""
        assert self.code == 0, f"exit code {self.code}\n{self.out}\n{self.err}"
        return self


class _Zygote:
    """The process that forks this worker's commands."""

    def __init__(self) -> None:
        # A socket's path must be short, which pytest's own temporary folders are not.
        self._folder = tempfile.TemporaryDirectory(prefix="bazar-")
        self._path = str(Path(self._folder.name) / "s")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.zygote", self._path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", "the zygote did not start"
        atexit.register(self.end)

    def run(self, request: Mapping[str, object], streams: list[int]) -> int:
        """Fork one command and return its exit code, negative for a signal."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_SECONDS)
            connection.connect(self._path)
            text = json.dumps(request).encode() + b"\n"
            sent = socket.send_fds(connection, [text], streams)
            connection.sendall(text[sent:])
            return int(connection.recv(16))

    def program(self, path: Path) -> None:
        """Write a program that hands its words, environment, folder and streams over as a command."""
        path.write_text(_PROGRAM.format(python=sys.executable, path=self._path))
        path.chmod(0o755)

    def end(self) -> None:
        """Let the process go: it ends with its standard input."""
        self._process.communicate()
        self._folder.cleanup()


@lru_cache(maxsize=1)
def _zygote() -> _Zygote:
    return _Zygote()


def program(path: Path) -> None:
    """Write `bazar` as a program for the scripts of a test, each of its runs forked from the worker's zygote."""
    _zygote().program(path)


@dataclass(frozen=True)
class Bazar:
    """The command with a home of its own."""

    home: Path
    environ: Mapping[str, str] = field(default_factory=dict[str, str])
    clock: float = 0
    """How many seconds the clock of the processes that `start` makes is ahead of this machine's."""

    def __call__(
        self,
        *words: str,
        stdin: str | bytes = "",
        cwd: Path | None = None,
        kill_after: float | None = None,
        stdout: IO[bytes] | None = None,
        stderr: IO[bytes] | None = None,
    ) -> Done:
        """Run one command to its end, forked from the worker's zygote.

        Parameters: `kill_after` kills it with -9 after so many seconds; `stdout` and `stderr` are written to
        where given, in place of what is returned.
        """
        given = stdin.encode() if isinstance(stdin, str) else stdin
        folder = str(cwd or self.folder("work"))
        request = {"words": words, "environ": self.environment(), "cwd": folder, "kill_after": kill_after}
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            source.write(given)
            source.seek(0)
            code = _zygote().run(request, [source.fileno(), (stdout or out).fileno(), (stderr or err).fileno()])
            out.seek(0)
            err.seek(0)
            return Done(code, out.read().decode(), err.read().decode())

    def start(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start one command and return its process, its streams piped unless given otherwise."""
        streams: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            **options,
        }
        return subprocess.Popen[bytes](self.command(*words), env=self.environment(), cwd=self.folder("work"), **streams)

    def command(self, *words: str) -> list[str]:
        """The arguments that run `bazar`."""
        return [*python_module("bazar_cli", self.clock), *words]

    def environment(self) -> dict[str, str]:
        """The whole environment of its processes."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        places = {"BAZAR_CONFIG_DIR": str(self.home / "config"), "BAZAR_DATA_DIR": str(self.home / "data")}
        return {**kept, **places, **self.environ}

    def having(self, **values: str) -> Bazar:
        """The same command with more environment variables."""
        return replace(self, environ={**self.environ, **values})

    def lacking(self, *names: str) -> Bazar:
        """The same command without these environment variables."""
        return replace(self, environ={k: v for k, v in self.environ.items() if k not in names})

    def on(self, target: Target) -> Bazar:
        """The same command with a target in its environment."""
        return self.having(
            SUPABASE_URL=target.supabase_url,
            SUPABASE_KEY=target.supabase_key.reveal(),
            DATABASE_URL=target.database_url.reveal(),
        )

    def folder(self, name: str) -> Path:
        """A folder below the home, made when it is not there."""
        path = self.home / name
        path.mkdir(parents=True, exist_ok=True)
        return path
