"""From the words of a command line to a run and its exit code."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from bazar_cli.domain.errors import BazarError, ExitCode, UsageError
from bazar_cli.domain.secrets import announced_to
from bazar_cli.domain.texts import environment
from bazar_cli.registry import OPTIONS_ELSEWHERE, Leaf
from bazar_cli.terminal import actions, reports, signals, streams
from bazar_cli.terminal.command import Start, Verb
from bazar_cli.terminal.command_record import CommandRecord
from bazar_cli.terminal.redact import Redactor
from bazar_cli.terminal.run import Context, Run
from bazar_cli.terminal.shared import Shared
from bazar_cli.terminal.typer_lite import LiteCommand, MissingParameter, NoSuchOption

if TYPE_CHECKING:
    from bazar_cli.terminal.logs import Log

_EXTRA = "Got unexpected extra argument(s)"
"""How Typer's message begins; the words follow, in brackets."""

_CHECK = "check that standard output is open and its disk has space"


def run_leaf(
    leaf: Leaf,
    words: Sequence[str],
    arguments: Sequence[str],
    environ: Mapping[str, str],
    batch: Shared | None = None,
) -> int:
    """Run a command and return its exit code; Ctrl-C, SIGTERM and SIGHUP are raised as KeyboardInterrupt.

    Parameters: `words` lead to the leaf, `arguments` follow them. `batch` is what a command of a batch shares with the
    others; its errors are always JSON.
    """
    out = streams.results()
    environ = environment(environ)
    request_id = os.urandom(16).hex()
    debug = "--debug" in arguments or streams.is_on(environ, "BAZAR_DEBUG")
    shared = batch or Shared(environ)
    redactor = Redactor({}, shared.redactor)
    machine = batch is not None or reports.wants_machine_errors(arguments, environ)
    reporter = reports.Reporter(request_id, machine=machine, debug=debug, redactor=redactor)
    reporter.annotates = words[:1] == ["db"] and actions.is_active(environ)
    path = " ".join(["bazar", *words])
    record = CommandRecord(path, arguments, request_id, environ, shared, redactor)
    reporter.keep = partial(crash_report, path, request_id, environ, redactor)
    failure = ""

    def begun(run: Run[Any]) -> None:
        record.run = run
        reporter.complete = run.as_message
        record.log = _start_log(run, debug=debug)

    try:
        with record.calls.recording(), announced_to(redactor.remember_secret):
            try:
                verb: Verb[Any] = import_module(leaf.module).run
                command = shared.command(path, lambda: verb.command(path, environ))
                code = _invoke(command, path, arguments, Start(Context(environ, request_id, shared, redactor), begun))
            finally:
                if batch is None:
                    shared.close()
    except BazarError as error:
        code, failure = reporter.report(error), error.code
    except KeyboardInterrupt as interrupt:
        record.end(signals.exit_code(interrupt), "")
        raise
    except BaseException as error:  # noqa: BLE001 - any bug is reported with its request id
        code, failure = reporter.unexpected(error), "internal.unexpected"
    out.flush()
    lost = streams.lost(out)
    # A closed pipe (`| head`) is not an error.
    if lost and not failure and not isinstance(lost, BrokenPipeError):
        unwritable = streams.unwritable(lost, f"the command is done: {_CHECK}" if record.run else _CHECK)
        code, failure = reporter.report(unwritable, code), unwritable.code
    if record.run is not None and not failure:
        record.run.write_waiting()
    record.end(code, failure)
    return code


def refuse_arguments(
    leaf: Leaf, words: Sequence[str], arguments: Sequence[str], environ: Mapping[str, str], shared: Shared
) -> None:
    """Parse the words of a command line, and run nothing. Raises: UsageError as the command would.

    Parameters: as `run_leaf`; `shared` keeps the built commands.
    """
    if not {"-h", "--help"}.isdisjoint(arguments):
        return  # Typer would write the help, and look at nothing behind it
    verb: Verb[Any] = import_module(leaf.module).run
    path = " ".join(["bazar", *words])
    command = shared.command(path, lambda: verb.command(path, environ))
    _parsed(command, path, arguments, None)


def usage_error(path: str, error: typer.TyperException) -> UsageError:
    """Return the domain error for a command line that Typer refused."""
    hint = f"`{path} --help` shows the usage"
    if isinstance(error, NoSuchOption):
        near = sorted(error.possibilities or ())
        elsewhere = OPTIONS_ELSEWHERE.get(path.removeprefix("bazar "), {}).get(error.option_name)
        if elsewhere:
            hint = f"`bazar {elsewhere}` does that"
        elif near:
            hint = f"did you mean {' or '.join(near)}? {hint}"
        else:
            hint += "; write a value that begins with a hyphen after `--`, after all options"
        return UsageError("usage.unknown_option", f"`{path}` has no option {error.option_name}", hint=hint)
    if isinstance(error, MissingParameter) and error.param is not None:
        name = error.param.name.upper().replace("_", "-")
        what = f"--{name.lower()}" if error.param.param_type_name == "option" else name
        return UsageError("usage.missing", f"`{path}` needs {what}", hint=hint)
    if isinstance(error, typer.BadParameter):
        parameter = error.param
        name = parameter.opts[0] if parameter is not None else "a value"
        name = name if name.startswith("-") else name.upper()
        return UsageError("usage.invalid_value", f"{name} cannot be {error.message}", hint=hint)
    said = error.format_message().rstrip(".")
    if said.startswith(_EXTRA):
        return UsageError("usage.invalid", f"`{path}` takes no more arguments{said.removeprefix(_EXTRA)}", hint=hint)
    return UsageError("usage.invalid", said, hint=hint)


def _invoke(command: LiteCommand, path: str, arguments: Sequence[str], start: Start) -> int:
    try:
        with _parsed(command, path, arguments, start) as context:
            return int(command.invoke(context) or ExitCode.DONE)
    except typer.Exit as ended:
        return ended.exit_code
    except typer.TyperException as error:
        raise usage_error(path, error) from error


def _parsed(command: LiteCommand, path: str, arguments: Sequence[str], start: Start | None) -> typer.Context:
    """Parse the words of a command line. Raises: UsageError; typer.Exit after the help."""
    for argument in arguments:
        if any("\ud800" <= c <= "\udfff" for c in argument):
            raise UsageError(
                "usage.encoding",
                f"the argument {argument[:40]!r} is not UTF-8 text",
                hint="check the encoding of the terminal or the script",
            )
    try:
        return cast("typer.Context", command.make_context(path, list(arguments), obj=start))
    except typer.TyperException as error:
        raise usage_error(path, error) from error


def _start_log(run: Run[Any], *, debug: bool) -> Log:
    from bazar_cli.terminal import logs

    options = run.options
    log_format = options.log_format or (logs.LogFormat.JSON if run.logs else None)
    settings = logs.LogSettings(run.request_id, run.spec.name, debug, log_format, options.log_file)
    return logs.start(run.redactor, settings)


def crash_report(
    command: str, request_id: str, environ: Mapping[str, str], redactor: Redactor, error: BaseException
) -> Path:
    """Write the report of a bug, and return its path. Raises: as `crash_reports.write`."""
    from bazar_cli.terminal import crash_reports

    return crash_reports.write(error, command, request_id, environ, redactor)
