"""Processes of others: their children, their ends."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import psutil

from tests.support.waiting import poll


def children(pid: int) -> list[int]:
    """Return the children of a process, as the kernel of Linux shows them; none of one that has ended."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def runs(pid: int) -> bool:
    """Whether a process holds anything: its files and locks, also while it ends.

    Its command line is gone before its locks are. It is a zombie before its other threads have ended.
    """
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1
    except psutil.NoSuchProcess:
        return False


def kill(*pids: int) -> None:
    """Kill processes that are nobody's children here, and see them gone."""
    for pid in pids:
        # A backend may notice that its server is gone before its turn comes.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in pids:
        poll(lambda pid=pid: not runs(pid))
