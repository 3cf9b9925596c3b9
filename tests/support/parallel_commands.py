"""Run many commands at once, and count the processes that have a file open."""

from __future__ import annotations

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
    """How many processes have a file open: of a lock, the one that holds it and those that wait."""
    found = 0
    for process in Path("/proc").glob("[0-9]*"):
        # What is looked at may be gone: a file was closed, its process has ended, or it is another user's.
        with suppress(OSError):
            found += any(_leads_to(link, path) for link in (process / "fd").iterdir())
    return found


def _leads_to(link: Path, path: Path) -> bool:
    try:
        return link.readlink() == path
    except OSError:
        return False
