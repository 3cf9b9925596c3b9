"""Use cases at the same moment, and how each of them ends."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from bazar_cli.domain.errors import BazarError


def ended(act: Callable[[], object]) -> str:
    """Do it; return `done`, or the code of its error."""
    try:
        act()
    except BazarError as error:
        return error.code
    return "done"


def run_concurrently(*tries: Callable[[], object]) -> list[str]:
    """Do all of them, each in a thread of its own; return how each ended, in their order."""
    with ThreadPoolExecutor(len(tries)) as pool:
        return list(pool.map(ended, tries))
