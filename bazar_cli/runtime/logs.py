"""Log lines: on standard error with --debug, in a file with --log-file; text or JSON, with the request id."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from bazar_cli.domain.errors import UsageError
from bazar_cli.runtime.escape import escaped_lines
from bazar_cli.runtime.options import LogFormat
from bazar_cli.runtime.redact import Redactor
from bazar_cli.runtime.streams import say, silence

_TEXT = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s [%(request_id)s] %(message)s"
_TIME = "%Y-%m-%dT%H:%M:%S"
# Statements and requests of the libraries help to understand; their debug level shows parameters.
_LEVELS = {"bazar_cli": logging.DEBUG, "httpx": logging.INFO, "alembic": logging.INFO}


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LogSettings:
    """Where the log lines of one command go, and what they carry."""

    request_id: str
    command: str
    to_stderr: bool
    format: LogFormat
    file: Path | None


def start(redactor: Redactor, settings: LogSettings) -> Callable[[int, str], None]:
    """Send log lines where they were asked for; return what tells of the command's end, with its exit code.

    Raises: UsageError `log.unwritable`.
    """
    handlers: list[logging.Handler] = []
    if settings.to_stderr:
        handlers.append(_ToStandardError(sys.stderr))
    if settings.file is not None:
        handlers.append(_file_handler(settings.file))
    formatter = _formatter(settings.format, redactor)
    for handler in handlers:
        handler.setFormatter(formatter)
        handler.addFilter(_with_request(settings.request_id, redactor))
    for name, level in _LEVELS.items():
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.propagate = False
        for handler in handlers:
            logger.addHandler(handler)
    began = time.monotonic()
    _log.info("%s begins", settings.command)
    for handler in handlers:
        if isinstance(handler, _ToFile):
            handler.begun = True

    def end(code: int, error: str) -> None:
        took = (time.monotonic() - began) * 1000
        why = f" ({error})" if error else ""
        _log.info("%s ends with exit code %d%s after %d ms", settings.command, code, why, took)

    return end


class _ToStandardError(logging.StreamHandler[TextIO]):
    """Log lines on standard error; where nobody reads them they go nowhere."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)
            return
        silence(self.stream)


class _ToFile(logging.FileHandler):
    """Log lines in a file. One that takes none from the start is refused; later the command's work goes on."""

    def __init__(self, path: Path, handle: int) -> None:
        super().__init__(path, encoding="utf-8", delay=True)
        self.stream = os.fdopen(handle, "w", encoding="utf-8")
        self.begun = False
        self._told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.begun:
            raise _unwritable(Path(self.baseFilename), error) from error
        elif not self._told:
            self._told = True
            say(f"warning: the log file {self.baseFilename} lacks lines: {error.strerror}")


def _file_handler(path: Path) -> logging.Handler:
    from bazar_cli.adapters.files import open_private

    try:
        # Made private, because log lines name people; one that exists keeps its mode.
        return _ToFile(path, open_private(path, os.O_WRONLY | os.O_APPEND, only_files=False))
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        "log.unwritable",
        f"the log file {path} cannot be written: {error.strerror}",
        hint="name another with --log-file",
    )


def _formatter(log_format: LogFormat, redactor: Redactor) -> logging.Formatter:
    formatter: logging.Formatter
    if log_format is LogFormat.JSON:
        from pythonjsonlogger.json import JsonFormatter

        names = {"asctime": "time", "levelname": "level", "name": "logger"}
        shape = "%(asctime)s %(levelname)s %(name)s %(request_id)s %(message)s"
        formatter = JsonFormatter(shape, datefmt=_TIME + "Z", rename_fields=names)
    else:
        formatter = logging.Formatter(_TEXT, datefmt=_TIME)
    formatter.converter = time.gmtime
    plain = formatter.format

    def safe(record: logging.LogRecord) -> str:
        return escaped_lines(redactor.hide(plain(record)))

    formatter.format = safe
    return formatter


def _with_request(request_id: str, redactor: Redactor) -> logging.Filter:
    class RequestFilter(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            record.request_id = request_id
            # Before the line becomes JSON, which may write a secret in another way.
            record.msg, record.args = redactor.hide(record.getMessage()), None
            return True

    return RequestFilter()
