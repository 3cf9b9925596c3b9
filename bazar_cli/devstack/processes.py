"""Look at other processes, and end them without hitting another program that got the same number.

Raises: UsageError `local.extra_missing`, as psutil comes with the extra `local`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bazar_cli.adapters.files import is_folder
from bazar_cli.adapters.polling import poll
from bazar_cli.devstack.binaries import extra_missing

_POLL_SECONDS = 0.02


@contextmanager
def _extra_needed() -> Generator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise extra_missing() from error


def command_line(pid: int) -> list[str]:
    """Return the arguments of a process: an empty list for a zombie, an ended or an invisible process."""
    with _extra_needed():
        import psutil

    try:
        return psutil.Process(pid).cmdline()
    except psutil.Error:
        return []


def find(wanted: Callable[[list[str]], bool], folder: Path) -> list[int]:
    """Return the processes with the wanted arguments that work in `folder`, as far as this user can see them.

    By arguments alone it would also find a process in a container whose files have the same paths.
    """
    if not is_folder(folder):
        return []  # without psutil, so that a machine without a stack does not need the extra
    with _extra_needed():
        import psutil

    found = psutil.process_iter(["cmdline"])
    return [p.pid for p in found if wanted(p.info["cmdline"] or []) and _works_in(p.pid, folder)]


def _works_in(pid: int, folder: Path) -> bool:
    with _extra_needed():
        import psutil

    try:
        # On Linux the folder itself: its path, which psutil returns, may be one of a container.
        where = f"/proc/{pid}/cwd" if sys.platform == "linux" else psutil.Process(pid).cwd()
        return Path(where).samefile(folder)
    except (OSError, psutil.Error):
        return False


def end(pid: int, lives: Callable[[], bool], steps: Sequence[tuple[signal.Signals, float]]) -> bool:
    """Send the signals of `steps` in turn, and wait after each one the seconds that it names.

    Parameters: `lives` says whether `pid` is the intended process, and alive. It is asked after the start time of the
    process was read, and signals go only to a process with that start time: another program that got the same number
    meanwhile gets none.
    Returns whether the process has ended.
    """
    with _extra_needed():
        import psutil

    try:
        process = psutil.Process(pid)
        if not lives():
            return True
        for number, seconds in steps:
            if not process.is_running():
                return True
            os.kill(pid, number)
            # Not `process.wait`, which waits for a zombie too: in many containers no process reaps it.
            if poll(lambda: not lives(), seconds=seconds, pause=_POLL_SECONDS):
                return True
    except (psutil.NoSuchProcess, ProcessLookupError):
        return True
    return False
