"""Measure a batch of creates against the same number of processes: `python -m benchmarks.batch`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.measure import Case, Kind, Times, measure
from benchmarks.report import Settings, setting, table
from benchmarks.stack import BAZAR, EmbeddedStack, embedded_stack

_RESULTS = Path(__file__).parent / "results" / "batch.md"
_CALLS = "the calls to Auth alone, one connection"
_BATCH, _PARALLEL, _PROCESSES = "bazar batch", "bazar batch --jobs 4", "a process for each line"
_AIM = 10.0
"""Milliseconds of a line beyond its calls to Auth."""


def main() -> None:
    """Measure, show the page, and keep it in `benchmarks/results`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000, help="how many lines (default 1,000)")
    parser.add_argument("--rounds", type=int, default=2, help="rounds that count (default 2)")
    given = parser.parse_args()
    settings = Settings(given.rounds, 0, load=os.getloadavg()[0])
    with embedded_stack() as embedded:
        cases = _cases(embedded, given.lines)
        times = measure(
            cases,
            embedded.folder,
            rounds=given.rounds,
            warm_ups=0,
        )
    text = "\n\n".join(
        [
            f"# {given.lines:,} lines of `users create`",
            "Written by `python -m benchmarks.batch`.",
            setting(settings),
            *(table(cases, times, kind) for kind in (Kind.BAZAR, Kind.PEER, Kind.FLOOR)),
            _beyond(times, given.lines),
        ]
    )
    _RESULTS.write_text(text + "\n", encoding="utf-8")
    print(text)


def _cases(embedded: EmbeddedStack, lines: int) -> tuple[Case, ...]:
    """Return the cases; each run creates users of its own."""
    environ = embedded.from_profile
    line = "users create $$-$RANDOM$RANDOM-$i@example.com"
    each = f"for i in $(seq {lines}); do"

    def script(kind: Kind, name: str, text: str) -> Case:
        return Case(kind, name, ("bash", "-eo", "pipefail", "-c", text), environ, _CALLS)

    return (
        Case(Kind.FLOOR, _CALLS, _program(lines), embedded.from_environment),
        script(Kind.BAZAR, _BATCH, f"{each} echo {line}; done | {BAZAR} batch -"),
        script(Kind.BAZAR, _PARALLEL, f"{each} echo {line}; done | {BAZAR} batch - --jobs 4"),
        script(Kind.PEER, _PROCESSES, f"{each} {BAZAR} {line} -q; done"),
    )


def _program(lines: int) -> tuple[str, ...]:
    return (sys.executable, "-c", "from benchmarks.floors.auth_calls import app; app()", str(lines))


def _beyond(times: Mapping[str, Times], lines: int) -> str:
    """Return what a line takes beyond its calls to Auth."""
    rows: list[str] = []
    for name in (_BATCH, _PARALLEL, _PROCESSES):
        beyond = (times[name].median - times[_CALLS].median) / lines
        rows.append(f"| {name} | {beyond:.1f} | {'yes' if beyond <= _AIM else '**no**'} |")
    return "\n".join(
        [f"| case | ms of a line beyond its calls to Auth | at most {_AIM:.0f} |", "| --- | --: | --- |", *rows]
    )


if __name__ == "__main__":
    main()
