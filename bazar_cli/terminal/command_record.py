"""What a command leaves at its end: one structured log record, and one trace if the environment names a collector."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bazar_cli import __version__
from bazar_cli.domain.calls import Calls, System, TraceContext
from bazar_cli.domain.errors import BazarError, ExitCode, UsageError
from bazar_cli.domain.target import RemoteTarget
from bazar_cli.domain.texts import counted
from bazar_cli.terminal.reports import last_value
from bazar_cli.terminal.streams import is_on

if TYPE_CHECKING:
    from bazar_cli.terminal.logs import Log
    from bazar_cli.terminal.redact import Redactor
    from bazar_cli.terminal.reports import Reporter
    from bazar_cli.terminal.run import Run
    from bazar_cli.terminal.shared import Shared


class CommandRecord:
    """Gathers what is known about one command.

    Parameters: `path` is how users call the command, without arguments, because these name people. `words` are the
    arguments; if they could not be parsed, the options for logs are looked up in them.
    """

    def __init__(
        self,
        path: str,
        words: Sequence[str],
        request_id: str,
        environ: Mapping[str, str],
        shared: Shared,
        redactor: Redactor,
    ) -> None:
        self.run: Run[Any] | None = None
        self.log: Log | None = None
        self._path = path
        self._words = words
        self._request_id = request_id
        self._environ = environ
        self._shared = shared
        self._redactor = redactor
        self._began, self._began_clock = time.time_ns(), time.monotonic_ns()
        self.calls = Calls(_trace(environ, request_id))

    def end(self, code: int, error: str) -> None:
        """Send the trace and write the record. Parameters: `error` is the code of an error, "" without one."""
        nanoseconds = time.monotonic_ns() - self._began_clock
        trace = self.calls.trace
        problem = self._send(trace, code, error, nanoseconds) if trace is not None and trace.sampled else ""
        log = self.log or self._log_of_words()
        if log is None or not log.is_on:
            return
        if problem:
            log.note(f"the trace was not sent: {problem}")
        name, why = self.run.spec.name if self.run else self._path, f" ({error})" if error else ""
        took = [
            f"{label} {counted(self.calls.count(system), 'call')} {self.calls.milliseconds(system)} ms"
            for system, label in self._shown_systems()
        ]
        fields = self._fields(code, error, nanoseconds // 1_000_000)
        log.end(f"{name} ends with exit code {code}{why} after {fields['duration_ms']} ms: {', '.join(took)}", fields)

    def _shown_systems(self) -> tuple[tuple[System, str], ...]:
        if self.run is not None and isinstance(self.run.known_target, RemoteTarget):
            return ((System.API, "API"),)
        return ((System.POSTGRES, "Postgres"), (System.AUTH, "Auth"))

    def _fields(self, code: int, error: str, milliseconds: int) -> dict[str, str | int | None]:
        trace = self.calls.trace
        return {
            "event": "command",
            "version": __version__,
            "command": self._path,
            **self._found(),
            "duration_ms": milliseconds,
            "postgres_calls": self.calls.count(System.POSTGRES),
            "postgres_ms": self.calls.milliseconds(System.POSTGRES),
            "auth_calls": self.calls.count(System.AUTH),
            "auth_ms": self.calls.milliseconds(System.AUTH),
            "api_calls": self.calls.count(System.API),
            "api_ms": self.calls.milliseconds(System.API),
            "exit_code": code,
            "error_code": error or None,
            "trace_id": trace.trace_id if trace else None,
            "span_id": trace.span_id if trace else None,
        }

    def _found(self) -> dict[str, str | int | None]:
        """Return what the run found out; a command that ended early may know no target and no operator."""
        run = self.run
        target, operator = (run.known_target, run.known_operator) if run else (None, None)
        direct, remote = (None, target) if isinstance(target, RemoteTarget) else (target, None)
        return {
            "use_case": run.spec.name if run else None,
            "dry_run": run.options.dry_run if run else None,
            "operator_id": str(operator.user_id) if operator else None,
            "operator_email": operator.email if operator else None,
            "target": str(target.source) if target else None,
            "postgres_host": direct.postgres_host if direct else None,
            "auth_host": direct.auth_host if direct else None,
            "api_host": remote.api_host if remote else None,
        }

    def _send(self, context: TraceContext, code: int, error: str, nanoseconds: int) -> str:
        """Send the trace; return why it was not taken, "" if it was."""
        from bazar_cli.adapters import traces

        found = self._found()
        attributes: dict[str, str | int | None] = {
            "process.executable.name": "bazar",
            "process.exit.code": code,
            "process.pid": os.getpid(),
            "user.id": found["operator_id"],
            "bazar.request_id": self._request_id,
            "bazar.use_case": found["use_case"],
            "bazar.target": found["target"],
            "bazar.calls.dropped": self.calls.dropped or None,
        }
        # 128 and more: a signal ended the command.
        kind = error or (ExitCode(code if code < 128 else ExitCode.INTERRUPTED).name.lower() if code else "")
        ended = self._began + nanoseconds
        root = traces.Span(
            context.span_id, context.parent_id, self._path, traces.INTERNAL, self._began, ended, kind, attributes
        )
        spans = [root, *(traces.of_call(call, context) for call in self.calls.kept)]
        if self._shared.collector_failed:
            # Each further command of a batch would wait for it again.
            return "the collector failed for an earlier command of this process"
        hide = cache(self._redactor.hide)
        problem = traces.send(traces.encode(context, spans, self._environ, hide), self._environ, traces.SECONDS)
        self._shared.collector_failed = bool(problem)
        return problem

    def _log_of_words(self) -> Log | None:
        file, log_format = last_value(self._words, "--log-file"), last_value(self._words, "--log-format")
        debug = "--debug" in self._words or is_on(self._environ, "BAZAR_DEBUG")
        if not (file or log_format or debug):
            return None
        from bazar_cli.terminal import logs
        from bazar_cli.terminal.options import LogFormat

        chosen = LogFormat.JSON if log_format == LogFormat.JSON else LogFormat.TEXT if log_format else None
        settings = logs.LogSettings(self._request_id, self._path, debug, chosen, Path(file) if file else None)
        try:
            return logs.start(self._redactor, settings)
        except BazarError:
            # The command has reported its own error, which counts.
            return None


def refuse(
    error: UsageError,
    path: str,
    words: Sequence[str],
    environ: Mapping[str, str],
    shared: Shared,
    reporter: Reporter,
) -> int:
    """Report the error of a command line that names no command, and leave its record; return the exit code.

    Parameters: `path` has only the words of the line that are in the command tree.
    """
    record = CommandRecord(path, words, reporter.request_id, environ, shared, shared.redactor)
    code = reporter.report(error)
    record.end(code, error.code)
    return code


def _trace(environ: Mapping[str, str], request_id: str) -> TraceContext | None:
    if not (environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")):
        return None
    from bazar_cli.adapters import traces

    return traces.begin(environ, request_id)
