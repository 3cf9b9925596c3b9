"""The results as a Markdown page."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version

from benchmarks.measure import Case, Kind, Times
from benchmarks.stack import BAZAR

_LIBRARIES = ("typer", "pydantic-settings", "pydantic", "PyJWT", "cryptography", "SQLAlchemy", "psycopg", "alembic")
_HEADER = ("case", "median ms", "min ms", "CPU ms", "x its floor (median)", "x its floor (min)", "aim", "met")


@dataclass(frozen=True)
class Settings:
    """How a run was made."""

    rounds: int
    warm_ups: int
    load: float
    """How many processes wanted a core, on average, over the minute before."""


def page(cases: Sequence[Case], times: Mapping[str, Times], settings: Settings) -> str:
    """Return the page: how it was measured, then one table of floors, of bazar and of peers."""
    parts = [
        "# Start-up",
        "Written by `make bench`; `benchmarks/README.md` says what the cases are and how to read them.",
        setting(settings),
        "## bazar",
        table(cases, times, Kind.BAZAR),
        "## Floors",
        table(cases, times, Kind.FLOOR),
        "## Peers on this machine, for information",
        table(cases, times, Kind.PEER),
    ]
    return "\n\n".join(parts) + "\n"


def met(case: Case, times: Mapping[str, Times]) -> str:
    """Say whether a case is as near to its floor as it has to be: `yes` by medians and by minima, else `no`.

    Where the two disagree, the machine was too busy for an answer: `unclear`.
    """
    if case.aim is None or case.floor is None:
        return ""
    taken, floor = times[case.name], times[case.floor]
    by_median = taken.median / floor.median <= case.aim
    by_minimum = taken.minimum / floor.minimum <= case.aim
    if by_median == by_minimum:
        return "yes" if by_median else "**no**"
    return "unclear"


def setting(settings: Settings) -> str:
    """Return how a run was made, as a list."""
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    script = "imports `re`" if "import re\n" in BAZAR.read_text(encoding="utf-8") else "does not import `re`"
    return "\n".join(
        (
            f"- {datetime.now(timezone.utc):%Y-%m-%d}",
            f"- {settings.rounds} interleaved rounds after {settings.warm_ups} warm-up rounds",
            f"- Python {platform.python_version()} on {platform.system()}",
            f"- {os.cpu_count()} cores, on which {settings.load:.1f} processes ran or waited the minute before",
            f"- {libraries}",
            f"- the console script {script}",
        )
    )


def table(cases: Sequence[Case], times: Mapping[str, Times], kind: Kind) -> str:
    """Return the table of the cases of one kind."""
    rows = [_row(case, times) for case in cases if case.kind is kind]
    rule = ("---", *("--:" for _ in _HEADER[1:-1]), "---")
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (_HEADER, rule, *rows))


def _row(case: Case, times: Mapping[str, Times]) -> tuple[str, ...]:
    taken = times[case.name]
    floor = taken if case.floor is None else times[case.floor]
    return (
        case.name,
        *(f"{figure:.1f}" for figure in (taken.median, taken.minimum, taken.cpu_median)),
        *(f"{ratio:.2f}" for ratio in (taken.median / floor.median, taken.minimum / floor.minimum)),
        "" if case.aim is None else f"{case.aim:.2f}",
        met(case, times),
    )
