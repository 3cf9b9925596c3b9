"""Look at other processes, and end them without hitting another program that got the same number."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bazar_cli.adapters.files import is_folder
from bazar_cli.adapters.polling import poll

_POLL_SECONDS = 0.02


def command_line(pid: int) -> list[str]:
    """Return the arguments of a process; none for a zombie, a dead process or one that may not be seen."""
    import psutil

    try:
        return psutil.Process(pid).cmdline()
    except psutil.Error:
        return []


def find(wanted: Callable[[list[str]], bool], folder: Path) -> list[int]:
    """Return the processes with arguments like these that work in `folder`, as far as this user can see them.

    Arguments alone would also find a process of a container whose own files have the same paths.
    """
    if not is_folder(folder):
        return []  # without psutil, so that a stack that never was needs no extra
    import psutil

    found = psutil.process_iter(["cmdline"])
    return [p.pid for p in found if wanted(p.info["cmdline"] or []) and _works_in(p.pid, folder)]


def _works_in(pid: int, folder: Path) -> bool:
    import psutil

    try:
        # On Linux the folder itself: its path, which psutil returns, may be one of a container.
        where = f"/proc/{pid}/cwd" if sys.platform == "linux" else psutil.Process(pid).cwd()
        return Path(where).samefile(folder)
    except (OSError, psutil.Error):
        return False


def end(pid: int, still_it: Callable[[], bool], steps: Sequence[tuple[signal.Signals, float]]) -> bool:
    """Send the signals of `steps` in turn, and wait after each one the seconds that it names.

    Parameters: `still_it` says whether `pid` is the process meant, and lives. It is asked after the start of the
    process was noted, and each signal is sent only to a process with that start: a number that was given to another
    program in between gets none.
    Returns whether the process is gone.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        if not still_it():
            return True
        for number, seconds in steps:
            if not process.is_running():
                return True
            os.kill(pid, number)
            # A zombie counts as gone: in a container often nobody reaps it.
            if poll(lambda: not still_it(), seconds=seconds, pause=_POLL_SECONDS):
                return True
    except (psutil.NoSuchProcess, ProcessLookupError):
        return True
    return False
