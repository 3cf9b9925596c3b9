"""Log lines on standard error with --debug, in a file with --log-file; text or JSON, with the request id.

Log lines and warnings of libraries and migrations are written there only, also if these set up logging. Without
--debug and --log-file there are none.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bazar_cli.domain.errors import BackendUnavailable, BazarError, UsageError
from bazar_cli.terminal.escape import escaped
from bazar_cli.terminal.options import LogFormat
from bazar_cli.terminal.redact import Redactor
from bazar_cli.terminal.streams import messages, say

_TEXT = "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"
_TIME = "%Y-%m-%dT%H:%M:%S"
# The info level of libraries has statements and requests; their debug level would show parameters.
_LEVELS = {"bazar_cli": logging.DEBUG, "httpx": logging.INFO, "alembic": logging.INFO}
_OTHERS = logging.WARNING

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LogSettings:
    """The destination of the log lines of one command, and their fields."""

    request_id: str
    command: str
    debug: bool
    format: LogFormat | None
    file: Path | None

    @property
    def to_stderr(self) -> bool:
        """Whether they go to standard error: with --debug, and with --log-format alone."""
        return self.debug or (self.format is not None and self.file is None)


class Log:
    """The log of one command."""

    def __init__(self, handlers: Sequence[logging.Handler]) -> None:
        self._handlers = handlers

    @property
    def is_on(self) -> bool:
        """Whether log lines are written anywhere."""
        return bool(self._handlers)

    def note(self, text: str) -> None:
        """Write a line."""
        _log.info("%s", text)

    def end(self, text: str, fields: Mapping[str, object]) -> None:
        """Write the record of the command, with `fields` in JSON, and close the log."""
        _log.info("%s", text, extra=fields)
        for handler in self._handlers:
            with suppress(OSError):  # a write error was reported before
                handler.close()


def start(redactor: Redactor, settings: LogSettings) -> Log:
    """Start logging. Raises: UsageError `log.unwritable`; BackendUnavailable `files.no_room`."""
    handlers: list[logging.Handler] = []
    if settings.to_stderr:
        handlers.append(logging.StreamHandler(messages()))
    if settings.file is not None:
        handlers.append(_file_handler(settings.file))
    formatter = _formatter(settings.format or LogFormat.TEXT, redactor)
    for handler in handlers:
        handler.setFormatter(formatter)
        handler.addFilter(_with_request(settings.request_id, redactor))
    for name, level in _LEVELS.items() if handlers else ():
        logging.getLogger(name).setLevel(level)
    _replace_handling(handlers)
    _log.info("%s begins", settings.command)
    for handler in handlers:
        if isinstance(handler, _ToFile):
            handler.begun = True
    return Log(handlers)


def _replace_handling(handlers: list[logging.Handler]) -> None:
    """Send all records, warnings and uncaught errors of threads to these handlers only.

    Handlers of the root logger are not enough: `logging.basicConfig(force=True)` removes them, and a handler of a
    library would write unredacted lines to standard error.
    """

    def take(self: logging.Logger, record: logging.LogRecord) -> None:  # noqa: ARG001 - a method
        if record.levelno >= _LEVELS.get(record.name.partition(".")[0], _OTHERS):
            for handler in handlers:
                handler.handle(record)

    def warned(text: Warning | str, kind: type[Warning], file: str, line: int, *_rest: object) -> None:
        logging.getLogger("py.warnings").warning("%s:%d: %s: %s", file, line, kind.__name__, text)

    def thread_ended(end: threading.ExceptHookArgs) -> None:
        name = end.thread.name if end.thread else "?"
        _log.error("thread %s ended", name, exc_info=end.exc_value)

    def not_raised(what: sys.UnraisableHookArgs) -> None:
        _log.error("%s: %r", what.err_msg or "ignored", what.object, exc_info=what.exc_value)

    logging.Logger.callHandlers = take
    warnings.showwarning = warned
    threading.excepthook = thread_ended
    sys.unraisablehook = not_raised


class _ToFile(logging.FileHandler):
    """Log lines in a file. An error of the first line is raised. A later one is only a warning."""

    def __init__(self, path: Path, handle: int) -> None:
        super().__init__(path, encoding="utf-8", delay=True)
        self.stream = os.fdopen(handle, "w", encoding="utf-8")
        self.begun = False
        self._warned = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.begun:
            raise _unwritable(Path(self.baseFilename), error) from error
        elif not self._warned:
            self._warned = True
            say(f"warning: the log file {self.baseFilename} lacks lines: {error.strerror}")


def _file_handler(path: Path) -> logging.Handler:
    from bazar_cli.adapters.files import open_private

    try:
        if path.is_symlink():
            raise UsageError(
                "log.unwritable",
                f"the log file {path} cannot be written: it is a link",
                hint="name a file that is no link; for standard error give --log-format without --log-file",
            )
        # A new file is private, because log lines name people; an existing one keeps its mode.
        return _ToFile(path, open_private(path, os.O_WRONLY | os.O_APPEND, only_files=False))
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> BazarError:
    from bazar_cli.adapters.files import NO_ROOM

    message = f"the log file {path} cannot be written"
    if error.errno in NO_ROOM:
        hint = "make room on the disk, or name another file with --log-file"
        return BackendUnavailable("files.no_room", f"{message}: {error.strerror}", hint=hint)
    if error.errno == errno.ENXIO:
        hint = "start the reader of the pipe first, or name another file with --log-file"
        return UsageError("log.unwritable", f"{message}: it is a pipe or a socket that no process reads", hint=hint)
    return UsageError("log.unwritable", f"{message}: {error.strerror}", hint="name another with --log-file")


class _TextFormatter(logging.Formatter):
    """One line per record; lines of a traceback begin with a bar."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        return escaped(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        return "\n| ".join(map(escaped, super().format(record).split("\n")))


def _formatter(log_format: LogFormat, redactor: Redactor) -> logging.Formatter:
    formatter: logging.Formatter
    if log_format is LogFormat.JSON:
        from pythonjsonlogger.json import JsonFormatter

        names = {"asctime": "time", "levelname": "level", "name": "logger"}
        shape = "%(asctime)s %(levelname)s %(name)s %(request_id)s %(message)s"
        formatter = JsonFormatter(shape, rename_fields=names)
        plain_json = formatter.format
        # In each text: escapes of the line may change a secret, and a secret of digits may be a part of a number.
        formatter.format = lambda record: json.dumps(redactor.hide_in(json.loads(plain_json(record))))
    else:
        formatter = _TextFormatter(_TEXT)
        plain = formatter.format
        formatter.format = lambda record: redactor.hide(plain(record))
    formatter.converter, formatter.default_time_format, formatter.default_msec_format = time.gmtime, _TIME, "%s.%03dZ"
    return formatter


def _with_request(request_id: str, redactor: Redactor) -> logging.Filter:
    class RequestFilter(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            if not hasattr(record, "request_id"):  # a server has those of its requests
                record.request_id = request_id
            # Before JSON escapes change a secret.
            record.msg, record.args = redactor.hide(_text(record)), None
            return True

    return RequestFilter()


def _text(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - a library may log arguments that do not fit its format
        return f"{record.msg} {record.args}"
