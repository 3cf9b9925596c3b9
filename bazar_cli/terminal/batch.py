"""Many commands in one run: each worker is a process that runs one command after another.

A worker is forked before anything was opened. A command writes to files of its worker, which become its result. Signals
reach the parent alone; it interrupts the workers, and each finishes the step in hand.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from bazar_cli.domain.batch import LineResult
from bazar_cli.domain.errors import BackendUnavailable, BazarError, ExitCode
from bazar_cli.registry import Leaf
from bazar_cli.terminal import reports, streams
from bazar_cli.terminal.batch_lines import Line
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
        self._workers: list[_Worker] = []
        for _ in range(jobs):
            self._workers.append(_Worker(common, {**environ, "BAZAR_OUTPUT": "json"}, tuple(self._workers)))

    def is_stopping(self) -> bool:
        """Whether no further line is begun."""
        return self._stopping or self._is_ended()

    @property
    def has_workers(self) -> bool:
        """Whether a worker is left; each that was killed is gone."""
        return not all(worker.has_ended for worker in self._workers)

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
                if worker.has_ended:
                    break
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


class _Worker:
    """A process that runs commands, one at a time. Parameters: `others` are the workers that run already."""

    def __init__(self, common: Common, environ: Mapping[str, str], others: tuple[_Worker, ...]) -> None:
        own, far = socket.socketpair()
        self.has_ended = False
        self._pid = os.fork()
        if self._pid == 0:
            for other in others:
                other.forget()
            own.close()
            _serve(far, common, environ)
        far.close()
        self._socket = own
        self._stream = own.makefile("rwb")

    def run(self, line: Line, redactor: Redactor) -> LineResult:
        """Run a line and return its result, also where the process was killed."""
        if line.leaf is None:
            assert line.error is not None, "a line has a command or an error"
            return _failed(line, line.error, redactor)
        asked = [line.leaf.module, line.path, line.arguments]
        try:
            self._stream.write(json.dumps(asked).encode() + b"\n")
            self._stream.flush()
            answer = self._stream.readline()
        except OSError:
            answer = b""
        if not answer.endswith(b"\n"):
            return self._killed(line, redactor)
        code, output, error, messages = json.loads(answer)
        return LineResult(line.number, line.text, code, output, error, tuple(messages))

    def send(self, number: signal.Signals) -> None:
        """Send a signal: after SIGINT the command in hand finishes its step, and ends."""
        if not self.has_ended:
            with suppress(ProcessLookupError):  # it has ended just now
                os.kill(self._pid, number)

    def close(self) -> None:
        """Let the process end, and wait for it."""
        self.forget()
        if not self.has_ended:
            os.waitpid(self._pid, 0)
            self.has_ended = True

    def forget(self) -> None:
        """Close this side of the connection."""
        with suppress(OSError):
            self._stream.close()
        self._socket.close()

    def _killed(self, line: Line, redactor: Redactor) -> LineResult:
        _, status = os.waitpid(self._pid, 0)
        self.has_ended = True
        code = os.waitstatus_to_exitcode(status)
        what = f"its process was ended by signal {-code}" if code < 0 else f"its process ended with exit code {code}"
        error = BackendUnavailable(
            "batch.worker_ended",
            f"{what}; what the command had done is not known",
            hint="run this line again: its command continues where it stopped",
        )
        return _failed(line, error, redactor)


def _failed(line: Line, error: BazarError, redactor: Redactor) -> LineResult:
    shown = reports.error_object(error, error.hint, error.exit_code, None, redactor)
    return LineResult(line.number, line.text, error.exit_code, None, shown, ())


# -- in the worker ------------------------------------------------------------------------------------------


def _serve(connection: socket.socket, common: Common, environ: Mapping[str, str]) -> NoReturn:
    """Run commands until the parent closes the connection or has gone, then end the process.

    SIGINT comes from the parent, and acts only within a command.
    """
    code = 1
    messages = os.dup(2)
    shared = Shared(environ)
    try:
        os.setpgid(0, 0)  # the terminal's Ctrl-C reaches the parent alone
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        out, err = _file("output"), _file("messages")
        _write_to(out, err)
        with connection.makefile("rwb") as stream:
            for asked in stream:
                module, path, given = json.loads(asked)
                arguments = [*_common_of(common, given), *given]
                exit_code = _run(Leaf(module, ""), path, arguments, environ, shared)
                answer = _answer(exit_code, arguments, out, err)
                if streams.lost(streams.results()):
                    _write_to(out, err)
                stream.write(json.dumps(answer).encode() + b"\n")
                stream.flush()
        shared.close()
        code = 0
    except (BrokenPipeError, ConnectionResetError):
        code = 0  # the parent was killed
    except BaseException as error:  # noqa: BLE001 - any bug is reported
        os.dup2(messages, 2)
        reporter = reports.Reporter(os.urandom(16).hex(), machine=False, debug=False, redactor=shared.redactor)
        reporter.keep = lambda bug: crash_report("bazar batch", reporter.request_id, environ, shared.redactor, bug)
        code = reporter.unexpected(error)
    finally:
        os._exit(code)


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
