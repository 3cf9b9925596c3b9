"""Many commands in one run: each worker is a process that runs one command after another.

A worker is forked by a process that does nothing else, so that nothing was opened before. A command writes to files of
its worker, which become its result. Signals reach the parent alone; it interrupts the workers, and each finishes the
step in hand.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn, cast

from bazar_cli.domain.batch import LineResult
from bazar_cli.domain.errors import BackendUnavailable, ExitCode, UsageError
from bazar_cli.registry import Leaf
from bazar_cli.terminal import reports, signals, streams
from bazar_cli.terminal.batch_lines import Line
from bazar_cli.terminal.command_record import refuse
from bazar_cli.terminal.launch import crash_report, run_leaf
from bazar_cli.terminal.redact import Redactor
from bazar_cli.terminal.shared import Shared

MAX_BYTES = 16 << 20
"""The largest output that a result has; a larger one belongs into a file."""
Common = Sequence[tuple[str, ...]]
"""Options that every line gets, each with its value."""
_TARGET = ("--profile", "--env-file")
_ERROR = '{"error": '
_LOOK_SECONDS = 0.2
_NUMBER = struct.Struct("=i")
"""A message between the batch and its nursery."""


class Batch:
    """Runs lines on workers until there are none, one failed, or the process is to end.

    Parameters: `common` are options that every line gets, unless the line names a target; `keep_going` runs the other
    lines after a failure. It forks: nothing may be opened before, and no signal be held.
    """

    def __init__(
        self, jobs: int, common: Common, environ: Mapping[str, str], redactor: Redactor, *, keep_going: bool
    ) -> None:
        self._keep_going = keep_going
        self._redactor = redactor
        self._stopping = False
        self._is_ended: Callable[[], bool] = lambda: False
        # A line begins only if the reader has taken the results before it, but for one a worker.
        self._slots = threading.Semaphore(jobs + 1)
        self._reading = threading.Lock()
        self._done: queue.SimpleQueue[LineResult | BaseException | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._nursery = _Nursery(common, {**environ, "BAZAR_OUTPUT": "json"})
        self._workers = [_Worker(self._nursery) for _ in range(jobs)]

    def is_stopping(self) -> bool:
        """Whether no further line is begun."""
        return self._stopping or self._is_ended()

    def results(self, lines: Iterator[Line], is_ended: Callable[[], bool]) -> Generator[LineResult]:
        """Yield the result of each line as it ends.

        Parameters: `is_ended` says whether a signal arrived; the commands in hand are then interrupted once.
        """
        self._is_ended = is_ended
        for worker in self._workers:
            thread = threading.Thread(target=self._work, args=(worker, lines), name="bazar-batch")
            self._threads.append(thread)
            thread.start()
        running, interrupted = len(self._threads), False
        try:
            while running:
                if is_ended() and not interrupted:
                    interrupted = True
                    self._send(signal.SIGINT)
                try:
                    done = self._done.get(timeout=_LOOK_SECONDS)
                except queue.Empty:
                    continue
                if done is None:
                    running -= 1
                elif isinstance(done, BaseException):
                    raise done
                else:
                    yield done
                    self._slots.release()
        except KeyboardInterrupt:
            # The second Ctrl-C ends commands at once; running them again finishes them.
            self._send(signal.SIGKILL)
            raise
        finally:
            self._stop()

    def close(self) -> None:
        """Let the workers end, and wait for them."""
        self._stop()
        for worker in self._workers:
            worker.close()
        self._nursery.close()

    def _stop(self) -> None:
        """Begin no other line, and wait for those that have begun."""
        self._stopping = True
        for thread in self._threads:
            thread.join()

    def _send(self, number: signal.Signals) -> None:
        for worker in self._workers:
            worker.send(number)

    def _work(self, worker: _Worker, lines: Iterator[Line]) -> None:
        try:
            while (line := self._next(lines)) is not None:
                result = worker.run(line, self._redactor)
                if result.exit_code and not self._keep_going:
                    self._stopping = True
                self._done.put(result)
        except BaseException as error:  # noqa: BLE001 - raised in the main thread
            self._stopping = True
            self._done.put(error)
        self._done.put(None)

    def _next(self, lines: Iterator[Line]) -> Line | None:
        while not self._slots.acquire(timeout=_LOOK_SECONDS):
            if self.is_stopping():
                return None
        with self._reading:
            return None if self.is_stopping() else next(lines, None)


class _Nursery:
    """A process with one thread and no open file that forks the workers, so that one can be replaced at any time."""

    def __init__(self, common: Common, environ: Mapping[str, str]) -> None:
        own, far = socket.socketpair()
        self._lock = threading.Lock()
        self._pid = os.fork()
        if self._pid == 0:
            own.close()
            _run_to_end(partial(_fork_workers, far, common, environ), environ, Redactor(environ))
        far.close()
        self._socket = own

    def start(self, connection: socket.socket) -> int:
        """Fork a worker that serves a connection; return its process id. Raises: as `end_of`."""
        return self._ask(0, connection.fileno())

    def end_of(self, pid: int) -> int:
        """Wait until a worker has ended; return its exit code, negative for a signal.

        Raises: BackendUnavailable `batch.worker_ended` if the nursery was killed.
        """
        return self._ask(pid)

    def close(self) -> None:
        """Let the process end, and wait for it."""
        self._socket.close()
        os.waitpid(self._pid, 0)

    def _ask(self, number: int, *descriptors: int) -> int:
        try:
            with self._lock:
                socket.send_fds(self._socket, [_NUMBER.pack(number)], descriptors)
                answer = self._socket.recv(_NUMBER.size)
        except OSError:
            answer = b""
        if not answer:
            raise BackendUnavailable(
                "batch.worker_ended",
                "the process that starts the others of the batch was ended, so no other line was begun",
                hint="run the lines without a result again",
            )
        return int(_NUMBER.unpack(answer)[0])


class _Worker:
    """A process that runs commands, one at a time. After one was killed, the next line gets a new one."""

    def __init__(self, nursery: _Nursery) -> None:
        self._nursery = nursery
        self._begin()

    def _begin(self) -> None:
        own, far = socket.socketpair()
        with far:
            self._pid: int | None = self._nursery.start(far)
        self._socket = own
        self._stream = own.makefile("rwb")

    def run(self, line: Line, redactor: Redactor) -> LineResult:
        """Run a line and return its result, also where the process was killed."""
        if self._pid is None:
            self._begin()
        module, error = line.leaf.module if line.leaf else None, line.error
        refused = None if error is None else [error.code, error.message, error.hint]
        try:
            self._stream.write(json.dumps([module, line.path, line.arguments, refused]).encode() + b"\n")
            self._stream.flush()
            answer = self._stream.readline()
        except OSError:
            answer = b""
        if not answer.endswith(b"\n"):
            return self._killed(line, redactor)
        code, output, shown, messages = json.loads(answer)
        hidden = Redactor({})
        for secret in line.secrets:
            hidden.remember(secret)
        return LineResult(
            line.number, line.text, code, output, cast("Any", hidden.hide_in(shown)), tuple(map(hidden.hide, messages))
        )

    def send(self, number: signal.Signals) -> None:
        """Send a signal: after SIGINT the command in hand finishes its step, and ends."""
        if self._pid is not None:
            with suppress(ProcessLookupError):  # it has ended just now
                os.kill(self._pid, number)

    def close(self) -> None:
        """Let the process end, and wait for it."""
        if self._pid is not None:
            with suppress(BackendUnavailable):  # it ends with its connection, also where nobody can wait for it
                self._end()

    def _end(self) -> int:
        """Close the connection, with which the process ends; return its exit code, negative for a signal."""
        pid, self._pid = self._pid, None
        assert pid is not None, "a process ends once"
        with suppress(OSError):
            self._stream.close()
        self._socket.close()
        return self._nursery.end_of(pid)

    def _killed(self, line: Line, redactor: Redactor) -> LineResult:
        code = self._end()
        what = f"its process was ended by signal {-code}" if code < 0 else f"its process ended with exit code {code}"
        error = BackendUnavailable(
            "batch.worker_ended",
            f"{what}; what the command had done is not known",
            hint="run this line again: its command continues where it stopped",
        )
        shown = reports.error_object(error, error.hint, error.exit_code, None, redactor)
        return LineResult(line.number, line.text, error.exit_code, None, shown, ())


# -- in the nursery and in the workers ----------------------------------------------------------------------


def _run_to_end(body: Callable[[], None], environ: Mapping[str, str], redactor: Redactor) -> NoReturn:
    """Run the body of a forked process, apart from the terminal's signals, and end the process."""
    code = 1
    messages = os.dup(2)
    try:
        os.setpgid(0, 0)  # the terminal's Ctrl-C reaches the parent alone
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        signals.end_at_once()
        body()
        code = 0
    except (BrokenPipeError, ConnectionResetError):
        code = 0  # the parent was killed
    except BaseException as error:  # noqa: BLE001 - any bug is reported
        os.dup2(messages, 2)
        reporter = reports.Reporter(os.urandom(16).hex(), machine=False, debug=False, redactor=redactor)
        reporter.keep = partial(crash_report, "bazar batch", reporter.request_id, environ, redactor)
        code = reporter.unexpected(error)
    finally:
        os._exit(code)


def _fork_workers(parent: socket.socket, common: Common, environ: Mapping[str, str]) -> None:
    """Fork a worker for each connection that the parent sends, or wait for the worker that it names, until it ends."""
    while True:
        asked, descriptors, _, _ = socket.recv_fds(parent, _NUMBER.size, 1)
        if not asked:
            return
        if descriptors:
            (descriptor,) = descriptors
            os.set_inheritable(descriptor, False)
            answer = os.fork()
            if answer == 0:
                parent.close()
                shared = Shared(environ)
                served = socket.socket(fileno=descriptor)
                _run_to_end(partial(_serve, served, common, environ, shared), environ, shared.redactor)
            os.close(descriptor)
        else:
            answer = os.waitstatus_to_exitcode(os.waitpid(_NUMBER.unpack(asked)[0], 0)[1])
        parent.send(_NUMBER.pack(answer))


def _serve(connection: socket.socket, common: Common, environ: Mapping[str, str], shared: Shared) -> None:
    """Run commands until the parent closes the connection or has gone.

    SIGINT comes from the parent, and acts only within a command.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    out, err = _file("output"), _file("messages")
    _write_to(out, err)
    with connection.makefile("rwb") as stream:
        for asked in stream:
            module, path, given, refused = json.loads(asked)
            arguments = [*_common_of(common, given), *given]
            if refused is None:
                exit_code = _run(Leaf(module, ""), path, arguments, environ, shared)
            else:
                exit_code = _refuse(refused, path, arguments, environ, shared)
            answer = _answer(exit_code, arguments, out, err)
            if streams.lost(streams.results()):
                _write_to(out, err)
            stream.write(json.dumps(answer).encode() + b"\n")
            stream.flush()
    shared.close()


def _file(name: str) -> int:
    """Return a file without a name, in memory where the system can: a container may have no folder for it."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _write_to(out: int, err: int) -> None:
    """Let commands write results to one file and messages to another."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    streams.keep_results()


def _common_of(common: Common, arguments: Sequence[str]) -> Iterator[str]:
    """Yield the common options, without the target where the line names its own."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    names_target = any(word.partition("=")[0] in _TARGET for word in options)
    for option, *values in common:
        if not (names_target and option in _TARGET):
            yield from (option, *values)


def _run(leaf: Leaf, path: Sequence[str], arguments: Sequence[str], environ: Mapping[str, str], shared: Shared) -> int:
    try:
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            return run_leaf(leaf, path, arguments, environ, shared)
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def _refuse(
    refused: Sequence[str], path: Sequence[str], arguments: Sequence[str], environ: Mapping[str, str], shared: Shared
) -> int:
    """Report a line that names no command. Parameters: `refused` is a code, a message and a hint."""
    code, message, hint = refused
    reporter = reports.Reporter(os.urandom(16).hex(), machine=True, debug=False, redactor=shared.redactor)
    error = UsageError(code, message, hint=hint)
    return refuse(error, " ".join(["bazar", *path]), arguments, environ, shared, reporter)


def _answer(code: int, arguments: Sequence[str], out: int, err: int) -> tuple[Any, ...]:
    """Return exit code, output, error and messages, and empty both files."""
    written, text = _taken(out)
    output: Any = text or None
    if written > MAX_BYTES:
        output = None
    elif text and reports.wants_machine_errors(arguments, {"BAZAR_OUTPUT": "json"}):
        with suppress(ValueError):  # JSON Lines, or a text for shells
            output = json.loads(text)
    error, messages = None, list[str]()
    for line in _taken(err)[1].splitlines():
        found = _error_of(line)
        if found is None:
            messages.append(line)
        error = found or error
    if written > MAX_BYTES:
        messages.append(f"the output is left out, as it has {written:,} bytes: let the command write it to a file")
    return code, output, error, messages


def _error_of(line: str) -> object:
    """Return the error object of a line of messages; None for another line."""
    if not line.startswith(_ERROR):
        return None
    try:
        return json.loads(line)["error"]
    except ValueError:
        return None  # a line of a migration, or one that was cut


def _taken(file: int) -> tuple[int, str]:
    """Return how many bytes a file has and the first of them as text, and empty it."""
    size = os.fstat(file).st_size
    text = os.pread(file, min(size, MAX_BYTES), 0).decode(errors="backslashreplace")
    os.ftruncate(file, 0)
    os.lseek(file, 0, os.SEEK_SET)
    return size, text
