"""Log lines: on standard error with --debug, in a file with --log-file; text or JSON, with the request id."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from bazar_cli.domain.errors import UsageError
from bazar_cli.runtime.escape import escaped_lines
from bazar_cli.runtime.options import LogFormat
from bazar_cli.runtime.redact import Redactor

_TEXT = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s [%(request_id)s] %(message)s"
_TIME = "%Y-%m-%dT%H:%M:%S"
# Statements and requests of the libraries help to understand; their debug level shows parameters.
_LEVELS = {"bazar_cli": logging.DEBUG, "httpx": logging.INFO, "alembic": logging.INFO}


def start(
    redactor: Redactor, request_id: str, *, to_stderr: bool, log_format: LogFormat | None, log_file: Path | None
) -> None:
    """Send log lines where they were asked for. Raises: UsageError `log.unwritable`."""
    handlers: list[logging.Handler] = []
    if to_stderr:
        handlers.append(logging.StreamHandler(sys.stderr))
    if log_file is not None:
        handlers.append(_file_handler(log_file))
    formatter = _formatter(log_format or LogFormat.TEXT, redactor)
    for handler in handlers:
        handler.setFormatter(formatter)
        handler.addFilter(_with_request(request_id))
    for name, level in _LEVELS.items():
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.propagate = False
        for handler in handlers:
            logger.addHandler(handler)


def _file_handler(path: Path) -> logging.Handler:
    from bazar_cli.adapters.files import open_private

    try:
        import os

        # Made private, because log lines name people; one that exists keeps its mode.
        os.close(open_private(path, os.O_WRONLY | os.O_APPEND))
        return logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            "log.unwritable",
            f"the log file {path} cannot be written: {error.strerror}",
            hint="name another with --log-file",
        ) from error


def _formatter(log_format: LogFormat, redactor: Redactor) -> logging.Formatter:
    import time

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


def _with_request(request_id: str) -> logging.Filter:
    class RequestFilter(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            record.request_id = request_id
            return True

    return RequestFilter()
