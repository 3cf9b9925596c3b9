"""A background process. Two commands may start it at once, and it may be killed at any moment.

The parent holds the start lock and waits for one byte from the child. The child holds a second lock until it ends:
that lock, not the process number, says whether it runs.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import bazar_cli
from bazar_cli.adapters import ownership
from bazar_cli.adapters.files import (
    exclusive_lock,
    open_private,
    private_folder,
    rotate,
    tail,
    try_lock,
    write_private,
)
from bazar_cli.adapters.polling import poll
from bazar_cli.devstack import processes
from bazar_cli.domain.errors import BackendUnavailable
from bazar_cli.domain.texts import from_json

LOOPBACK = "127.0.0.1"
LOG_BYTES = 5 * 1024 * 1024
_READY_SECONDS = 60.0
_LOCK_SECONDS, _LOCK_PAUSE_SECONDS = 1.0, 0.01
"""How long the child retries its lock, which a command that checks the service may hold for a moment."""
_STOP = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))
# The child gets no DATABASE_URL, key or password of the caller.
_PASSED_ON = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "PYTHONPATH",
    "PYTHONHASHSEED",
    "PYTHONDONTWRITEBYTECODE",
)

Serve = Callable[[Mapping[str, str], socket.socket, Callable[[], None]], None]
"""The child's work: (environment, listening socket, function to call when ready). It returns at SIGTERM."""


@dataclass(frozen=True)
class ServiceState:
    """The state that a running service stored when it became ready."""

    pid: int
    port: int
    started_at: datetime
    version: str
    """The bazar that runs it."""
    label: str
    """A text of the starter, to recognize its configuration; no secret."""

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"http://{LOOPBACK}:{self.port}"


@dataclass(frozen=True)
class ServiceConfig:
    """The settings that the child gets through its standard input, not by its command line.

    `urls` are settings whose value is the service's base URL plus a path, which is known when the service listens.
    """

    environ: Mapping[str, str] = field(repr=False)
    urls: Mapping[str, str]
    label: str


class BackgroundService:
    """One background process, with its files in `folder`.

    Parameters: `program` is the command that calls `run_child`; it holds no secret.
    """

    def __init__(self, folder: Path, name: str, program: Sequence[str]) -> None:
        self._folder = folder
        self._name = name
        self._program = list(program)

    @property
    def log(self) -> Path:
        """The log of the service, mode 0600."""
        return self._folder / f"{self._name}.log"

    def pid(self) -> int | None:
        """Return the number of the running process, or None."""
        line = poll(self._pid_line, seconds=_LOCK_SECONDS, pause=_LOCK_PAUSE_SECONDS) or b""
        return int(line) if line.strip().isdigit() else None

    def state(self) -> ServiceState | None:
        """Return the state that the running process stored; None without one, and before it is ready."""
        pid = self.pid()
        if pid is None:
            return None
        found = self._last_state()
        return found if found is not None and found.pid == pid else None

    def start(self, config: ServiceConfig) -> tuple[ServiceState, bool]:
        """Start the process unless it runs; return its state and whether this call started it.

        Raises: BackendUnavailable `local.auth_failed` with the last log lines when it does not become ready.
        """
        private_folder(self._folder)
        with exclusive_lock(self._folder / "start.lock"):
            if self.pid() is not None:
                running = self.state()
                if running is not None:
                    return running, False
                # It runs but never became ready: its starter was killed, or it hangs.
                self.stop()
            rotate(self.log, LOG_BYTES)
            # The child of a starter that was killed may take the lock first. It is stopped, and another one started.
            if not self._spawn(config) and not (self.stop() and self._spawn(config)):
                raise self._failed("did not start", config)
            state = self.state()
            if state is None:
                raise self._failed("ended right after it was ready", config)
            return state, True

    def stop(self) -> bool:
        """Stop the process, by SIGTERM and then SIGKILL; return whether one was running.

        Raises: BackendUnavailable `local.auth_failed` when it survives.
        """
        pid = self.pid()
        if pid is None:
            return False
        if not processes.end(pid, lambda: self.pid() == pid, _STOP):
            raise BackendUnavailable(
                "local.auth_failed",
                f"the {self._name} service (process {pid}) did not stop",
                hint="try again in a moment",
            )
        return True

    # -- in the parent ------------------------------------------------------------------------------------

    @property
    def _alive(self) -> Path:
        return self._folder / "alive.lock"

    @property
    def _state_file(self) -> Path:
        return self._folder / "state.json"

    def _pid_line(self) -> bytes | None:
        """Return the line with the number of the process that holds the lock; an empty line where none holds it.

        Returns None for a child that took the lock and has not written its number yet.
        """
        try:
            handle = os.open(self._alive, os.O_RDWR | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            return b"\n"
        try:
            text = b"\n" if try_lock(handle) else os.pread(handle, 32, 0)
        finally:
            os.close(handle)
        return text if text.endswith(b"\n") else None

    def _last_state(self) -> ServiceState | None:
        try:
            raw: dict[str, Any] = from_json(ownership.read(self._state_file).data)
            return ServiceState(
                int(raw["pid"]),
                int(raw["port"]),
                datetime.fromisoformat(str(raw["started_at"])),
                str(raw["version"]),
                str(raw["label"]),
            )
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
            return None

    def _clear_pid(self) -> None:
        # Otherwise a new child that has not written its number yet would seem to have the old one.
        handle = open_private(self._alive)
        try:
            # Only with the lock: a process that runs by now has written its number.
            if try_lock(handle):
                os.ftruncate(handle, 0)
        finally:
            os.close(handle)

    def _spawn(self, config: ServiceConfig) -> bool:
        """Start a child; return True when it is ready, False when it ended before."""
        self._clear_pid()
        last = self._last_state()
        ready, write_end = os.pipe()
        log = open_private(self.log, os.O_WRONLY | os.O_APPEND)
        message = {
            "folder": str(self._folder),
            "port": 0 if last is None else last.port,
            "ready": write_end,
            "environ": dict(config.environ),
            "urls": dict(config.urls),
            "label": config.label,
        }
        try:
            try:
                child = subprocess.Popen(
                    self._program,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    # Not the caller's folder: `-m` would import from it, and the folder would be in use.
                    cwd="/",
                    env=_child_environ(),
                    start_new_session=True,
                    pass_fds=[write_end],
                    umask=0o077,
                )
            finally:
                os.close(write_end)
                os.close(log)
            child.communicate(json.dumps(message).encode())
            return self._await_ready(ready, config)
        finally:
            os.close(ready)

    def _await_ready(self, ready: int, config: ServiceConfig) -> bool:
        poller = select.poll()
        poller.register(ready, select.POLLIN)
        if not poller.poll(_READY_SECONDS * 1000):
            self.stop()
            raise self._failed(f"was not ready within {_READY_SECONDS:.0f} s", config)
        return bool(os.read(ready, 1))

    def _failed(self, what: str, config: ServiceConfig) -> BackendUnavailable:
        lines = [_without_secrets(line, config) for line in tail(self.log, 5) if line.strip()]
        return BackendUnavailable(
            "local.auth_failed",
            f"the {self._name} service {what}",
            below=lines,
            hint=f"the log is {self.log}",
            details={"log": str(self.log), "last_lines": lines},
        )


def _without_secrets(line: str, config: ServiceConfig) -> str:
    # The service does not log its settings, but an unexpected error may quote one.
    for value in config.environ.values():
        if len(value) >= 8:
            line = line.replace(value, "***")
    return line.strip()


def _child_environ() -> dict[str, str]:
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    # Absolute, because the child runs in another folder.
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    search = [str(Path(entry).absolute()) for entry in given if entry]
    root = Path(bazar_cli.__file__).resolve().parent.parent
    if root.name not in {"site-packages", "dist-packages"}:
        # A checkout that is not installed was found through the caller's folder.
        search.insert(0, str(root))
    if search:
        passed["PYTHONPATH"] = os.pathsep.join(search)
    return passed


# -- in the child -----------------------------------------------------------------------------------------


def run_child(serve: Serve) -> int:
    """Run the service: read the message, detach, take the lock, listen, serve; return an exit code."""
    message: dict[str, Any] = json.loads(sys.stdin.buffer.read())
    # The starter waits for this process only. The service is adopted by init, so that no caller has to reap it.
    if os.fork() != 0:
        os._exit(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    folder = Path(message["folder"])
    alive = _lock_for_life(folder / "alive.lock")
    if alive is None:
        sys.stderr.write("another process of this service is running\n")
        return 1
    os.pwrite(alive, f"{os.getpid()}\n".encode(), 0)
    listener = listen(int(message["port"]))
    port = int(listener.getsockname()[1])
    base = f"http://{LOOPBACK}:{port}"
    environ = {**message["environ"], **{name: base + path for name, path in message["urls"].items()}}

    def on_ready() -> None:
        state = {
            "pid": os.getpid(),
            "port": port,
            "started_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "version": bazar_cli.__version__,
            "label": message["label"],
        }
        write_private(folder / "state.json", json.dumps(state))
        try:
            os.write(message["ready"], b"1")
        except BrokenPipeError:
            sys.stderr.write("the starter is gone; serving anyway\n")
        os.close(message["ready"])

    serve(environ, listener, on_ready)
    return 0


def _lock_for_life(path: Path) -> int | None:
    handle = open_private(path)
    held = poll(lambda: try_lock(handle), seconds=_LOCK_SECONDS, pause=_LOCK_PAUSE_SECONDS)
    return handle if held else None


def listen(port: int) -> socket.socket:
    """Listen on loopback at `port`, so that stored URLs remain valid, or at a free port when it is taken."""
    for wanted in (port, 0):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, wanted))
            listener.listen(128)
        except OSError:
            listener.close()
            if wanted == 0:
                raise
        else:
            return listener
    raise AssertionError("port 0 always binds or raises")
