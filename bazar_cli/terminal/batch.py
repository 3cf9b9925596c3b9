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
from pathlib import Path
from typing import IO, Any, NoReturn

from bazar_cli.domain.batch import LineResult
from bazar_cli.domain.errors import BackendUnavailable, BazarError, ExitCode
from bazar_cli.registry import Leaf
from bazar_cli.terminal import reports, streams
from bazar_cli.terminal.batch_lines import Line
from bazar_cli.terminal.launch import run_leaf
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
    lines after a failure.
    """

    def __init__(self, jobs: int, common: Common, environ: Mapping[str, str], *, keep_going: bool) -> None:
        self._keep_going = keep_going
        self._stopping = False
        self._is_ended: Callable[[], bool] = bool
        self._reading = threading.Lock()
        self._done: queue.SimpleQueue[LineResult | BaseException | None] = queue.SimpleQueue()
        self._workers: list[_Worker] = []
        for _ in range(jobs):
            self._workers.append(_Worker(common, {**environ, "BAZAR_OUTPUT": "json"}, tuple(self._workers)))

    def is_stopping(self) -> bool:
        """Whether no further line is begun."""
        return self._stopping or self._is_ended()

    def results(self, lines: Iterator[Line], is_ended: Callable[[], bool]) -> Generator[LineResult]:
        """Yield the result of each line as it ends.

        Parameters: `is_ended` says whether a signal arrived; the commands in hand are then interrupted once.
        """
        self._is_ended = is_ended
        threads = [
            threading.Thread(target=self._work, args=(worker, lines), name="bazar-batch") for worker in self._workers
        ]
        for thread in threads:
            thread.start()
        running, interrupted = len(threads), False
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
        except KeyboardInterrupt:
            # The second Ctrl-C ends commands at once; running them again finishes them.
            self._send(signal.SIGKILL)
            raise
        finally:
            # Also where the caller ends: a command that has begun is finished.
            self._stopping = True
            for thread in threads:
                thread.join()
            for worker in self._workers:
                worker.close()

    def _send(self, number: signal.Signals) -> None:
        for worker in self._workers:
            worker.send(number)

    def _work(self, worker: _Worker, lines: Iterator[Line]) -> None:
        try:
            while (line := self._next(lines)) is not None:
                result = worker.run(line)
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

    def run(self, line: Line) -> LineResult:
        """Run a line and return its result, also where the process was killed."""
        if line.leaf is None:
            assert line.error is not None, "a line has a command or an error"
            return _failed(line, line.error)
        asked = [line.leaf.module, line.path, line.arguments]
        try:
            self._stream.write(json.dumps(asked).encode() + b"\n")
            self._stream.flush()
            answer = self._stream.readline()
        except OSError:
            answer = b""
        if not answer:
            return self._killed(line)
        code, output, error, messages = json.loads(answer)
        return LineResult(line.number, line.text, code, output, error, tuple(messages))

    def send(self, number: signal.Signals) -> None:
        """Send a signal: after SIGINT the command in hand finishes its step, and ends."""
        if not self.has_ended:
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

    def _killed(self, line: Line) -> LineResult:
        _, status = os.waitpid(self._pid, 0)
        self.has_ended = True
        code = os.waitstatus_to_exitcode(status)
        what = f"its process was ended by signal {-code}" if code < 0 else f"its process ended with exit code {code}"
        error = BackendUnavailable(
            "batch.worker_ended",
            f"{what}; what the command had done is not known",
            hint="run the same command again: it continues where it stopped",
        )
        return _failed(line, error)


def _failed(line: Line, error: BazarError) -> LineResult:
    shown = {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "exit_code": int(error.exit_code),
        "details": error.details,
        "request_id": None,
    }
    return LineResult(line.number, line.text, error.exit_code, None, shown, ())


# -- in the worker ------------------------------------------------------------------------------------------


def _serve(connection: socket.socket, common: Common, environ: Mapping[str, str]) -> NoReturn:
    """Run commands until the parent closes the connection or has gone, then end the process.

    SIGINT comes from the parent, and acts only within a command: no result is lost.
    """
    code = 1
    messages = os.dup(2)
    try:
        os.setpgid(0, 0)  # the terminal's Ctrl-C reaches the parent alone
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, signal.default_int_handler)
        shared = Shared(environ)
        with (
            connection.makefile("rwb") as stream,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
            Path(os.devnull).open() as nothing,
        ):
            os.dup2(nothing.fileno(), 0)
            for asked in stream:
                module, path, given = json.loads(asked)
                arguments = [*_common_of(common, given), *given]
                for file, descriptor in ((out, 1), (err, 2)):
                    os.dup2(file.fileno(), descriptor)
                exit_code = _run(Leaf(module, ""), path, arguments, environ, shared)
                stream.write(json.dumps(_answer(exit_code, arguments, out, err)).encode() + b"\n")
                stream.flush()
        shared.close()
        code = 0
    except BrokenPipeError:
        code = 0  # the parent was killed
    except BaseException as error:  # noqa: BLE001 - as the interpreter itself would
        os.dup2(messages, 2)
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(code)


def _common_of(common: Common, arguments: Sequence[str]) -> Iterator[str]:
    """Yield the common options, without the target where the line names its own."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    names_target = any(word.partition("=")[0] in _TARGET for word in options)
    for option, *values in common:
        if not (names_target and option in _TARGET):
            yield from (option, *values)


def _run(leaf: Leaf, path: Sequence[str], arguments: Sequence[str], environ: Mapping[str, str], shared: Shared) -> int:
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    streams.keep_results()
    try:
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            return run_leaf(leaf, path, arguments, environ, shared)
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def _answer(code: int, arguments: Sequence[str], out: IO[bytes], err: IO[bytes]) -> tuple[Any, ...]:
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
        if line.startswith(_ERROR):
            error = json.loads(line)["error"]
        else:
            messages.append(line)
    if written > MAX_BYTES:
        messages.append(f"the output is left out, as it has {written:,} bytes: let the command write it to a file")
    return code, output, error, messages


def _taken(file: IO[bytes]) -> tuple[int, str]:
    """Return how many bytes a file has and the first of them as text, and empty it."""
    descriptor = file.fileno()
    size = os.fstat(descriptor).st_size
    text = os.pread(descriptor, min(size, MAX_BYTES), 0).decode(errors="backslashreplace")
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return size, text
