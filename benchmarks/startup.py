"""Measure bazar's start-up against floors, all in one run: `python -m benchmarks.startup`."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from benchmarks.cases import cases
from benchmarks.measure import measure
from benchmarks.report import Settings, page
from benchmarks.stack import embedded_stack
from tests.support.api_server import running_api

_RESULTS = Path(__file__).parent / "results" / "startup.md"
_ROUNDS = 15
_WARM_UPS = 3


def main() -> None:
    """Measure, show the page, and keep it in `benchmarks/results`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--rounds", type=_count, default=_ROUNDS, help=f"rounds that count (default {_ROUNDS})")
    rounds: int = parser.parse_args().rounds
    settings = Settings(rounds, _WARM_UPS, load=os.getloadavg()[0])
    with (
        embedded_stack() as embedded,
        tempfile.TemporaryDirectory() as folder,
        running_api(embedded.target, Path(folder) / "log") as api,
    ):
        chosen = cases(embedded, api.url)
        times = measure(
            chosen,
            embedded.folder,
            rounds=rounds,
            warm_ups=_WARM_UPS,
        )
    text = page(chosen, times, settings)
    _RESULTS.parent.mkdir(exist_ok=True)
    _RESULTS.write_text(text, encoding="utf-8")
    print(text, end="")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least one round")
    return number


if __name__ == "__main__":
    main()
