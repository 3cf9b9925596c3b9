"""Look at other processes, and end them without ever hitting a stranger that got their number."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_POLL_SECONDS = 0.02


def exists(pid: int) -> bool:
    """Say whether some process has this number; a zombie counts, as it does for Postgres."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    except OverflowError:
        return False
    return True


def command_line(pid: int) -> list[str]:
    """Return the arguments of a process; none for a zombie, a dead process or one that may not be seen."""
    if sys.platform == "linux":
        try:
            raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return []
        return [os.fsdecode(part) for part in raw.split(b"\0") if part]
    shown = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.split()


def find(wanted: Callable[[list[str]], bool], folder: Path) -> list[int]:
    """Return the processes with arguments like these that work in `folder`; those that may not be seen are left out.

    Arguments alone would also find a process of a container whose own files have the same paths.
    """
    return [pid for pid, words in _all() if wanted(words) and _works_in(pid, folder)]


def _all() -> Iterator[tuple[int, list[str]]]:
    if sys.platform == "linux":
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                yield int(entry.name), command_line(int(entry.name))
        return
    shown = subprocess.run(["ps", "-axww", "-o", "pid=,args="], capture_output=True, text=True, check=False)
    for line in shown.stdout.splitlines():
        pid, *words = line.split()
        yield int(pid), words


def _works_in(pid: int, folder: Path) -> bool:
    if sys.platform != "linux":
        return True
    try:
        return Path(f"/proc/{pid}/cwd").samefile(folder)
    except OSError:
        return False


def end(pid: int, still_it: Callable[[], bool], steps: Sequence[tuple[signal.Signals, float]]) -> bool:
    """Send the signals of `steps` in turn, waiting after each one the seconds it names.

    Parameters: `still_it` says whether `pid` is (still) the process meant. It is asked after a descriptor of
    the process was opened, so a number that was given to another program in between is never signalled.
    Returns whether the process is gone.
    """
    descriptor = _pidfd(pid)
    try:
        if not still_it():
            return True
        for number, seconds in steps:
            if not _send(pid, descriptor, number, still_it):
                return True
            if _wait(descriptor, still_it, seconds):
                return True
        return False
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _pidfd(pid: int) -> int | None:
    # macOS has no pidfd, and Python offers it on Linux only; a kernel before 5.3 lacks it too.
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _send(pid: int, descriptor: int | None, number: signal.Signals, still_it: Callable[[], bool]) -> bool:
    try:
        if descriptor is not None and sys.platform == "linux":
            signal.pidfd_send_signal(descriptor, number)
        elif still_it():
            os.kill(pid, number)
        else:
            return False
    except ProcessLookupError:
        return False
    return True


def _wait(descriptor: int | None, still_it: Callable[[], bool], seconds: float) -> bool:
    if descriptor is not None:
        # poll, not select: a descriptor above 1023 is no problem for it.
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return bool(poller.poll(seconds * 1000))
    deadline = time.monotonic() + seconds
    while still_it():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
