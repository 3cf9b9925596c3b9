"""A private file about a bug of bazar, for those who report it."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

from bazar_cli.adapters.config.folders import data_dir, demanded
from bazar_cli.adapters.files import PRIVATE_FOLDER, private_folder, write_private
from bazar_cli.services.installation import installation
from bazar_cli.terminal.escape import escaped
from bazar_cli.terminal.redact import Redactor

KEPT = 20
"""How many reports a folder keeps: the newest ones."""


def write(error: BaseException, command: str, request_id: str, environ: Mapping[str, str], redactor: Redactor) -> Path:
    """Write a report to `crashes/` in the data folder, mode 0600, and return its path.

    It has versions, the command without its arguments, the request id, and the traceback without values of variables
    and without secrets. Raises: StoreUnusable, BackendUnavailable, as `adapters.files` says.
    """
    now, found = datetime.now(timezone.utc), installation()
    lines = [
        f"time: {now:%Y-%m-%dT%H:%M:%SZ}",
        f"command: {command}",
        f"request id: {request_id}",
        f"bazar: {found.version}",
        f"Python: {sys.version}",
        f"system: {found.platform}",
        *(f"{name}: {number}" for name, number in found.libraries.items()),
        "",
        *"".join(traceback.format_exception(error)).splitlines(),
    ]
    folder = private_folder(demanded(data_dir(environ)) / "crashes", mode=PRIVATE_FOLDER)
    path = folder / f"{now:%Y%m%dT%H%M%SZ}-{request_id}.txt"
    write_private(path, redactor.hide("\n".join(map(escaped, lines)) + "\n"))
    for old in sorted(folder.glob("*.txt"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return path
