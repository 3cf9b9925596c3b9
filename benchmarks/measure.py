"""Wall and CPU times of fresh processes, every case once a round."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from statistics import median


class Kind(Enum):
    """What a case is there for."""

    FLOOR = "floor"
    BAZAR = "bazar"
    PEER = "peer"


@dataclass(frozen=True)
class Case:
    """A command line to measure."""

    kind: Kind
    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str]
    floor: str | None = None
    """The case that this one is compared with; None for the lowest one."""
    aim: float | None = None
    """How many times its floor a case may take; None for a case without an aim."""


@dataclass(frozen=True)
class Times:
    """What a case took, one entry a round."""

    wall: tuple[float, ...]
    """Milliseconds."""
    cpu: tuple[float, ...]
    """Milliseconds, user and system, of the process and its children."""
    memory: tuple[float, ...]
    """The largest resident set, MB."""

    @property
    def median(self) -> float:
        """The middle wall time."""
        return median(self.wall)

    @property
    def minimum(self) -> float:
        """The shortest wall time."""
        return min(self.wall)

    @property
    def cpu_median(self) -> float:
        """The middle CPU time."""
        return median(self.cpu)


def run(case: Case, folder: Path) -> tuple[float, float, float]:
    """Run a command to its end; return its wall and CPU time in milliseconds, and its memory in MB."""
    start = time.perf_counter()
    with subprocess.Popen(
        case.command, cwd=folder, env=case.environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - start
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, case.command)
    kilobytes = used.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return wall * 1000, (used.ru_utime + used.ru_stime) * 1000, kilobytes / 1000


def measure(
    cases: Sequence[Case],
    folder: Path,
    *,
    rounds: int,
    warm_ups: int,
    run_case: Callable[[Case, Path], tuple[float, float, float]] = run,
) -> dict[str, Times]:
    """Run every case once a round, so that a busy moment of the machine hits all of them alike.

    Each round has another order, the same in every run: what a process leaves behind (cold caches, a
    server that still tidies up) would else always burden the same next case. Standard error has the number of the
    round.

    Parameters: `folder` is the working folder of the processes; `warm_ups` rounds come first and count for
    nothing; `run_case` runs a case as `run` does.
    Raises: subprocess.CalledProcessError when a command fails.
    """
    order, shuffler = list(cases), random.Random(0)  # noqa: S311 - an order, no secret
    found: dict[str, list[tuple[float, float, float]]] = {case.name: [] for case in cases}
    for number in range(1 - warm_ups, rounds + 1):
        if number > 0:
            print(f"round {number} of {rounds}", file=sys.stderr)
        shuffler.shuffle(order)
        for case in order:
            taken = run_case(case, folder)
            if number > 0:
                found[case.name].append(taken)
    return {name: Times(*zip(*taken, strict=True)) for name, taken in found.items()}
