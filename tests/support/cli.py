"""`bazar` as users run it: a process with an environment that holds only the given variables."""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from bazar_cli.domain.target import Target
from tests.support.clock_offset import python_module
from tests.support.fork_requests import ask
from tests.support.forked_process import ForkedProcess
from tests.support.via_api import is_on as via_api_is_on
from tests.support.via_api import redirected

_KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "COVERAGE_PROCESS_START")
_SECONDS = 120
"""No time limit of a test: only so that a hang ends the run with a trace."""


_PROGRAM = """\
#!{python} -IS
import os, socket, sys
sys.path.append({support!r})
from fork_requests import ask
request = {{"words": sys.argv[1:], "environ": dict(os.environ), "cwd": os.getcwd()}}
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect({path!r})
    code, _ = ask(connection, request, [0, 1, 2])
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
        """The error object of standard error: its last line, but for the log of a command that always has one."""
        *_, last = (line for line in self.err.splitlines() if line.strip() and '"event": "command"' not in line)
        return json.loads(last)["error"]

    def ok(self) -> Done:
        """Return itself if the command succeeded; else fail with its output."""
        assert self.code == 0, f"exit code {self.code}\n{self.out}\n{self.err}"
        return self


class _ForkServer:
    """The process that forks this worker's commands."""

    def __init__(self) -> None:
        # A socket's path must be short, which pytest's own temporary folders are not.
        self._folder = tempfile.TemporaryDirectory(prefix="bazar-")
        self._path = str(Path(self._folder.name) / "s")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fork_server", self._path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", "the fork server did not start"
        self._idle: list[socket.socket] = []
        """Connections to processes that have run a command and can run another one."""
        atexit.register(self.end)

    def run(self, request: Mapping[str, object], streams: Sequence[int]) -> int:
        """Have one command run to its end; return its exit code, which is negative for a signal."""
        # Threads of a test run commands at the same time.
        try:
            connection = self._idle.pop() if request.get("reusable") else self.connect()
        except IndexError:
            connection = self.connect()
        again = False
        try:
            code, again = ask(connection, request, streams)
        finally:
            if again:
                self._idle.append(connection)
            else:
                connection.close()
        return code

    def connect(self) -> socket.socket:
        """Return a connection for one request."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_SECONDS)
        connection.connect(self._path)
        return connection

    def program(self, path: Path) -> None:
        """Write a program that hands its words, environment, folder and streams over as a command."""
        path.write_text(_PROGRAM.format(python=sys.executable, path=self._path, support=str(Path(__file__).parent)))
        path.chmod(0o755)

    def end(self) -> None:
        """Let the processes go: they end with their connections, and the server with its standard input."""
        for connection in self._idle:
            connection.close()
        self._process.communicate()
        self._folder.cleanup()


@lru_cache(maxsize=1)
def _fork_server() -> _ForkServer:
    return _ForkServer()


def _run(
    request: Mapping[str, object],
    given: bytes = b"",
    stdout: IO[bytes] | None = None,
    stderr: IO[bytes] | None = None,
) -> Done:
    """Have one command run to its end; its exit code is negative for a signal."""
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        source.write(given)
        source.seek(0)
        streams = [source.fileno(), (stdout or out).fileno(), (stderr or err).fileno()]
        code = _fork_server().run(request, streams)
        out.seek(0)
        err.seek(0)
        return Done(code, out.read().decode(), err.read().decode())


def alembic(database_url: str, *words: str, cwd: Path) -> Done:
    """Run plain Alembic in a checkout as its users do, forked from the worker's fork server."""
    environ = {"PATH": os.environ["PATH"], "DATABASE_URL": database_url}
    request = {
        "program": "alembic",
        "words": words,
        "environ": environ,
        "cwd": str(cwd),
        "package": str(cwd / "bazar_cli"),
    }
    return _run(request)


def program(path: Path) -> None:
    """Write `bazar` as a program for the scripts of a test, each of its runs forked from the worker's fork server."""
    _fork_server().program(path)


@dataclass(frozen=True)
class Bazar:
    """The command with its own home."""

    home: Path
    environ: Mapping[str, str] = field(default_factory=dict[str, str])
    clock: float = 0
    """By how many seconds the clock of the processes that `start` makes is ahead of this machine's."""
    user: int | None = None
    """The id of the user that runs it, who needs no passwd entry; by default the user of the tests. Needs root."""
    bare: bool = False
    """Whether it has no folders named, and no HOME but one that is given."""
    package: Path | None = None
    """The folder of the package, which says where the migrations are; by default that of the tests."""
    constants: Mapping[str, float] = field(default_factory=dict[str, float])
    """Other values of the product's constants, by module and name: a timeout that a test waits out. Of forked ones."""
    largest_file: int | None = None
    """The number of bytes that no file of a forked command can exceed: the kernel's limit, as of a full disk."""
    fresh: bool = False
    """Whether each command starts an interpreter, for tests of what happens at its start and at its end."""

    def __call__(
        self,
        *words: str,
        stdin: str | bytes = "",
        cwd: Path | None = None,
        kill_after: float | None = None,
        stdout: IO[bytes] | None = None,
        stderr: IO[bytes] | None = None,
    ) -> Done:
        """Run one command to its end, forked from the worker's fork server.

        Parameters: `kill_after` kills it with -9 after this number of seconds; `stdout` and `stderr` are written to
        where given, in place of what is returned.
        """
        given = stdin.encode() if isinstance(stdin, str) else stdin
        if self._goes_through_api:
            with redirected(words, self.environment()) as way:
                request = {**self._request(words, cwd), "environ": dict(way.environ), "kill_after": kill_after}
                done = _run({**request, "user": None, "reusable": kill_after is None}, given, stdout, stderr)
            return Done(done.code, way.shown(done.out), way.shown(done.err))
        request = {
            **self._request(words, cwd),
            "kill_after": kill_after,
            "user": self.user,
            "reusable": kill_after is None,
        }
        if self.fresh:
            with self.start(*words, stdin=subprocess.PIPE, stdout=stdout or subprocess.PIPE) as process:
                out, err = process.communicate(given)
            return Done(process.returncode, (out or b"").decode(), err.decode())
        return _run(request, given, stdout, stderr)

    def start(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start one command and return its process, its streams piped unless given otherwise."""
        streams: dict[str, Any] = {
            name: options.pop(name, subprocess.DEVNULL if name == "stdin" else subprocess.PIPE)
            for name in ("stdin", "stdout", "stderr")
        }
        session = options.pop("start_new_session", False)
        if not self.fresh and not self.clock and not options:
            request = {**self._request(words), "started": True, "session": session}
            if self._goes_through_api and "BAZAR_TOKEN" in self.environ:
                with redirected(words, self.environment()) as way:
                    request["environ"] = dict(way.environ)
            return ForkedProcess(_fork_server().connect(), request, words, streams)
        command, folder = self.command(*words), self.folder("work")
        options = {**streams, **options, "start_new_session": session}
        return subprocess.Popen[bytes](command, env=self.environment(), cwd=folder, **options)

    @property
    def _goes_through_api(self) -> bool:
        plain = self.user is None and not (self.bare or self.fresh or self.constants or self.clock)
        return plain and self.package is None and via_api_is_on()

    def _request(self, words: tuple[str, ...], cwd: Path | None = None) -> dict[str, object]:
        return {
            "words": words,
            "environ": self.environment(),
            "cwd": str(cwd or self.folder("work")),
            "package": None if self.package is None else str(self.package),
            "constants": dict(self.constants),
            "largest_file": self.largest_file,
        }

    def command(self, *words: str) -> list[str]:
        """The arguments that run `bazar`."""
        return [*python_module("bazar_cli", self.clock), *words]

    def environment(self) -> dict[str, str]:
        """The whole environment of its processes."""
        if self.bare:
            return {"PATH": os.environ["PATH"], **self.environ}
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
