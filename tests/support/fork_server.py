"""A process with everything imported that forks a fresh `bazar`, or plain Alembic, for each command of the tests.

Importing the libraries takes longer than most commands. A fork copies each page that a command writes to, which also
takes longer than most commands. So a process that has run a command may run the next one, with another environment,
folder, streams and user, if the command left nothing behind: `tests/support/process_state.py` says what that is. A
command that a test starts or kills has a process for itself. What a start imports is tested with interpreters.

Run as `python -m tests.support.fork_server SOCKET`; ends when its parent does.
"""

from __future__ import annotations

import gc
import json
import os
import pkgutil
import resource
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from tests.support.fork_requests import LAST
from tests.support.process_state import ProcessState

_REQUEST_BYTES = 1 << 20
_LIBRARIES = (
    "typer",
    "sqlalchemy.dialects.postgresql.psycopg",
    "pydantic_settings",
    "jwt",
    "supabase_auth",
    "alembic.command",
    "alembic.config",
    "yaml",
    # What the libraries above import only when they first connect, verify or parse.
    "httpcore",
    "encodings.idna",
    "cryptography.hazmat.backends.openssl.backend",
    "typer._click.decorators",
    # What a command imports when it needs it: another user may not be able to read the libraries.
    "getpass",
    "platformdirs.unix",
    "pythonjsonlogger.json",
    "http.client",
    "tomli_w",
    "rich._emoji_codes",
    "rich.bar",
)

_COMMANDS = 100
"""After this number of commands a process ends: what they remember takes memory."""
_MAINS = {"bazar": "bazar_cli.main", "alembic": "alembic.config"}


def _preload() -> None:
    import bazar_cli

    for library in _LIBRARIES:
        import_module(library)
    for module in pkgutil.walk_packages(bazar_cli.__path__, "bazar_cli."):
        if not module.name.endswith("__main__") and ".devstack." not in module.name:
            import_module(module.name)
    import_module("bazar_cli.devstack.stack")
    gc.freeze()


def _received(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """What is asked, with its three streams; None where nothing more is."""
    data, streams, _, _ = socket.recv_fds(connection, _REQUEST_BYTES, 3)
    if not data:
        return None
    while not data.endswith(b"\n"):
        data += connection.recv(_REQUEST_BYTES)
    return json.loads(data), streams


def _become(request: dict[str, Any], streams: list[int]) -> int:
    """Be the command: its environment, folder, streams and arguments. Return its exit code."""
    code = 1
    with ExitStack() as until_ended:
        try:
            if request.get("session"):
                os.setsid()
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
                os.close(stream)
            os.environ.clear()
            os.environ.update(request["environ"])
            os.chdir(request["cwd"])
            # The descriptors stay open when the next command of this process takes the places of these.
            sys.stdin = open(0, closefd=False)  # noqa: SIM115
            sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
            sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
            if request.get("package") is not None:
                # Migrations are found from the place of the package.
                sys.modules["bazar_cli"].__file__ = str(Path(request["package"]) / "__init__.py")
            program = request.get("program", "bazar")
            sys.argv = [program, *request["words"]]
            main = import_module(_MAINS[program]).main
            until_ended.enter_context(_constants(request.get("constants", {})))
            until_ended.enter_context(_largest_file(request.get("largest_file")))
            # After the change of folder, as sudo does.
            until_ended.enter_context(_user(request.get("user")))
            # Alembic's returns nothing where it went well.
            code = main() or 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        except BaseException as error:  # noqa: BLE001 - as the interpreter itself would
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            _join_threads()
            try:
                sys.stdout.flush()
                sys.stderr.flush()
                if sys.__stdout__ is not None:
                    sys.__stdout__.flush()  # Alembic took that of the server when it was imported
            except OSError:
                # The exit code of an interpreter that cannot flush its streams.
                code = 120
    return code


@contextmanager
def _constants(values: Mapping[str, object]) -> Generator[None]:
    """Give constants of modules other values."""
    with ExitStack() as restored:
        for name, value in values.items():
            module_name, _, constant = name.rpartition(".")
            module = import_module(module_name)
            restored.callback(setattr, module, constant, getattr(module, constant))
            setattr(module, constant, value)
        yield


@contextmanager
def _largest_file(size: int | None) -> Generator[None]:
    """Let no file become larger than `size` bytes, as on a full disk."""
    if size is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def _user(user: int | None) -> Generator[None]:
    """Be another user; what the process was stays its saved user, so that it can be that again."""
    if user is None or user == os.geteuid():
        yield
        return
    groups, mine = os.getgroups(), (os.geteuid(), os.getegid())
    os.setgroups([])
    os.setresgid(user, user, mine[1])
    os.setresuid(user, user, mine[0])
    try:
        yield
    finally:
        os.setresuid(-1, mine[0], -1)
        os.setresuid(mine[0], mine[0], mine[0])
        os.setresgid(mine[1], mine[1], mine[1])
        os.setgroups(groups)


def _join_threads() -> None:
    """Wait for threads as the interpreter does at its end."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()


def _become_each(connection: socket.socket, request: dict[str, Any], streams: list[int]) -> None:
    """Be one command after another, until one leaves something behind or no more is asked for."""
    state = ProcessState(streams)
    asked: tuple[dict[str, Any], list[int]] | None = (request, streams)
    for count in range(1, _COMMANDS + 1):
        if asked is None:
            return
        code = _become(*asked)
        last = count == _COMMANDS or not state.restore()
        connection.sendall(f"{code}{LAST if last else ''}\n".encode())
        if last:
            return
        asked = _received(connection)


@dataclass(frozen=True)
class _Running:
    """A running command, and the connection of its client."""

    connection: socket.socket
    kill_at: float | None


class _Server:
    """Forks a command for each connection and tells how it ended; one fork each, for that is what costs."""

    def __init__(self, path: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(64)
        self._ended, self._wakes = socket.socketpair()
        self._running: dict[int, _Running] = {}

    def serve(self) -> None:
        """Go on until standard input ends."""
        for end in (self._ended, self._wakes):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            readable, _, _ = select.select([self._listener, self._ended, sys.stdin], [], [], self._patience())
            if sys.stdin in readable:
                return
            if self._ended in readable:
                self._ended.recv(4096)
                self._reap()
            self._kill_late()
            if self._listener in readable:
                self._fork(self._listener.accept()[0])

    def _patience(self) -> float | None:
        moments = [running.kill_at for running in self._running.values() if running.kill_at is not None]
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _fork(self, connection: socket.socket) -> None:
        received = _received(connection)
        if received is None:
            connection.close()
            return
        request, streams = received
        child = os.fork()
        if child == 0:
            self._run(connection, request, streams)
        for stream in streams:
            os.close(stream)
        if request.get("started"):
            connection.sendall(f"{child}\n".encode())
        after = request.get("kill_after")
        self._running[child] = _Running(connection, None if after is None else time.monotonic() + after)

    def _run(self, connection: socket.socket, request: dict[str, Any], streams: list[int]) -> NoReturn:
        """Run the command and exit with its code."""
        code = 1
        try:
            self._leave()
            if request.get("reusable"):
                _become_each(connection, request, streams)
            else:
                connection.close()
                code = _become(request, streams)
        finally:
            os._exit(code)

    def _leave(self) -> None:
        """Close what belongs to the server."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        for own in (self._listener, self._ended, self._wakes, *(r.connection for r in self._running.values())):
            own.close()

    def _reap(self) -> None:
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            # The client of a process that ran several commands has gone by now.
            with self._running.pop(pid).connection as connection, suppress(OSError):  # the client may have closed it
                connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())

    def _kill_late(self) -> None:
        now = time.monotonic()
        for pid, running in self._running.items():
            if running.kill_at is not None and running.kill_at <= now:
                os.kill(pid, signal.SIGKILL)  # one that has ended keeps its pid until it is waited for
                self._running[pid] = _Running(running.connection, None)


def main() -> None:
    """Listen, and fork for each connection, until standard input ends."""
    server = _Server(sys.argv[1])
    _preload()
    server.serve()


if __name__ == "__main__":
    main()
