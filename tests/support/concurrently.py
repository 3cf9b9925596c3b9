"""Run use cases at the same moment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from bazar_cli.domain.errors import BazarError


def ended(act: Callable[[], object]) -> str:
    """Run it; return `done`, or the code of its error."""
    try:
        act()
    except BazarError as error:
        return error.code
    return "done"


def run_concurrently(*tries: Callable[[], object]) -> list[str]:
    """Run each in its own thread; return how they ended, in their order."""
    with ThreadPoolExecutor(len(tries)) as pool:
        return list(pool.map(ended, tries))
