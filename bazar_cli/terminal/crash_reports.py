"""A private file about a bug of bazar, for those who report it."""

from __future__ import annotations

import platform
import re
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from bazar_cli import __version__
from bazar_cli.adapters.config.folders import data_dir, demanded
from bazar_cli.adapters.files import PRIVATE_FOLDER, private_folder, write_private
from bazar_cli.terminal.redact import Redactor

KEPT = 20
"""How many reports a folder keeps: the newest ones."""


def write(error: BaseException, command: str, request_id: str, environ: Mapping[str, str], redactor: Redactor) -> Path:
    """Write a report to `crashes/` in the data folder, mode 0600, and return its path.

    It has versions, the command without its arguments, the request id, and the traceback without values of variables
    and without secrets. Raises: StoreUnusable, BackendUnavailable, as `adapters.files` says.
    """
    now = datetime.now(timezone.utc)
    lines = [
        f"time: {now:%Y-%m-%dT%H:%M:%SZ}",
        f"command: {command}",
        f"request id: {request_id}",
        f"bazar: {__version__}",
        f"Python: {sys.version}",
        f"system: {platform.platform()}",
        *(f"{name}: {found}" for name, found in _libraries()),
        "",
        *traceback.format_exception(error),
    ]
    folder = private_folder(demanded(data_dir(environ)) / "crashes", mode=PRIVATE_FOLDER)
    path = folder / f"{now:%Y%m%dT%H%M%SZ}-{request_id}.txt"
    write_private(path, redactor.hide("\n".join(lines)))
    for old in sorted(folder.glob("*.txt"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def _libraries() -> list[tuple[str, str]]:
    """Return the installed libraries that bazar requires, with their versions."""
    found: dict[str, str] = {}
    with suppress(PackageNotFoundError):  # run from a checkout that is not installed
        for requirement in requires("bazar-cli") or ():
            name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
            with suppress(PackageNotFoundError):  # of an extra that is not installed
                found[name] = version(name)
    return sorted(found.items())
