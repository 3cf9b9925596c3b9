"""Log lines of this process in a file, for as long as a block lasts."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bazar_cli.terminal import logs
from bazar_cli.terminal.options import LogFormat
from bazar_cli.terminal.redact import Redactor

_TAKEN = (
    (logging.Logger, "callHandlers"),
    (warnings, "showwarning"),
    (threading, "excepthook"),
    (sys, "unraisablehook"),
)
_LOGGERS = ("bazar_cli", "httpx", "alembic")


@contextmanager
def logging_to_file(path: Path, redactor: Redactor, log_format: LogFormat = LogFormat.TEXT) -> Generator[None]:
    """Start logging as a command does, and restore the logging of this process afterwards."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    with pytest.MonkeyPatch.context() as patch:
        for place, name in _TAKEN:
            patch.setattr(place, name, getattr(place, name))
        settings = logs.LogSettings("r-1", "users.list", debug=False, format=log_format, file=path)
        log = logs.start(redactor, settings)
        yield
        log.end("users.list ends", {})
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
