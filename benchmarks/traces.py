"""Measure what a trace adds to a command, by pairs of runs: `python -m benchmarks.traces`."""

from __future__ import annotations

import argparse
import os
import platform
import socket
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from statistics import median

from benchmarks.measure import Case, Kind, Times, measure
from benchmarks.stack import BAZAR, EmbeddedStack, embedded_stack
from tests.support.collector import running_collector

_RESULTS = Path(__file__).parent / "results" / "traces.md"
_ROUNDS = 25
_WARM_UPS = 3
_AIM_MS = 250
_OFF = "no collector"


def main() -> None:
    """Measure, show the page, and keep it in `benchmarks/results`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.traces", description=__doc__)
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help=f"rounds that count (default {_ROUNDS})")
    rounds: int = parser.parse_args().rounds
    load = os.getloadavg()[0]
    with embedded_stack() as stack, running_collector() as collector, _hanging() as hanging:
        endpoints = {
            "a collector that answers": collector.url,
            "a dead collector (connection refused)": "http://127.0.0.1:1",
            "a hanging collector (accepts, never answers)": hanging,
        }
        chosen = [_case(stack, _OFF, {})]
        chosen += [_case(stack, name, {"OTEL_EXPORTER_OTLP_ENDPOINT": url}) for name, url in endpoints.items()]
        off = {"OTEL_EXPORTER_OTLP_ENDPOINT": hanging, "OTEL_SDK_DISABLED": "true"}
        chosen.append(_case(stack, "a hanging collector, OTEL_SDK_DISABLED=true", off))
        times = measure(
            chosen,
            stack.folder,
            rounds=rounds,
            warm_ups=_WARM_UPS,
        )
    text = _page(times, rounds, load)
    _RESULTS.write_text(text, encoding="utf-8")
    print(text, end="")


def _case(stack: EmbeddedStack, name: str, variables: Mapping[str, str]) -> Case:
    command = (str(BAZAR), "users", "get", stack.email, "-o", "json")
    return Case(Kind.BAZAR, name, command, {**stack.from_profile, **variables}, _OFF)


@contextmanager
def _hanging() -> Generator[str]:
    """Yield the URL of a server whose system accepts connections, and which never reads or answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def _page(times: Mapping[str, Times], rounds: int, load: float) -> str:
    lines = [
        "# Traces",
        "",
        "Written by `python -m benchmarks.traces`. The command is `bazar users get EMAIL -o json`, the target from a",
        "profile. Every case runs once a round. `more` is its wall time less that of the run without a collector in",
        f"the same round. The aim is at most {_AIM_MS} ms more, and `aim met` compares the median with it. Nine of ten",
        "rounds took at most the time in `9 of 10`. It depends on the load of the machine, and is not judged.",
        "",
        f"- {datetime.now(timezone.utc):%Y-%m-%d}",
        f"- {rounds} interleaved rounds after {_WARM_UPS} warm-up rounds",
        f"- Python {platform.python_version()} on {platform.system()}",
        f"- {os.cpu_count()} cores, on which {load:.1f} processes ran or waited the minute before",
        "",
        "| case | median ms | CPU ms | more, median ms | more, 9 of 10 ms | aim met |",
        "| --- | --: | --: | --: | --: | --- |",
    ]
    base = times[_OFF]
    for name, taken in times.items():
        more = sorted(wall - other for wall, other in zip(taken.wall, base.wall, strict=True))
        most = more[round(0.9 * (len(more) - 1))]
        verdict = "" if name == _OFF else "yes" if median(more) <= _AIM_MS else "**no**"
        shown = f"{taken.median:.1f} | {taken.cpu_median:.1f} | {median(more):.1f} | {most:.1f}"
        lines.append(f"| {name} | {shown} | {verdict} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
