"""Run many commands at once, and count the processes that have a file open."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.cli import Bazar, Done


@contextmanager
def running(bazar: Bazar, commands: Sequence[Sequence[str]], stdin: str = "") -> Generator[list[Future[Done]]]:
    """Run these commands at the same time, each in its own process; all have ended after the block."""
    bazar("--version").ok()  # the process that forks them is there before any thread asks for it
    with ThreadPoolExecutor(len(commands)) as pool:
        yield [pool.submit(bazar, *words, stdin=stdin) for words in commands]


def holders(path: Path) -> int:
    """How many processes of this test have a file open: of a lock, the one that holds it and those that wait."""
    return sum(_has_open(process, path) for process in _descendants())


def _descendants() -> set[int]:
    """This process, and all that it or its fork server started."""
    parents: dict[int, int] = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):  # it has ended
                # After the name of the program, which may hold anything: its state, and its parent.
                parents[int(process.name)] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
    found = {os.getpid()}
    while more := {process for process, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _has_open(process: int, path: Path) -> bool:
    with suppress(OSError):  # it has ended
        return any(_leads_to(link, path) for link in Path(f"/proc/{process}/fd").iterdir())
    return False


def _leads_to(link: Path, path: Path) -> bool:
    try:
        return link.readlink() == path
    except OSError:  # it was closed
        return False
