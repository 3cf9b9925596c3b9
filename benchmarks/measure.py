"""Wall and CPU times of fresh processes, every case once a round."""

from __future__ import annotations

import random
import resource
import subprocess
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
    """How many times its floor a case may take; None for what is only shown."""


@dataclass(frozen=True)
class Times:
    """What a case took, in milliseconds, one entry a round."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

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
        """The middle CPU time, user and system, of the process and its children."""
        return median(self.cpu)


def measure(
    cases: Sequence[Case], folder: Path, *, rounds: int, warm_ups: int, on_round: Callable[[int], None]
) -> dict[str, Times]:
    """Run every case once a round, so that a busy moment of the machine hits all of them alike.

    Each round has an order of its own, the same in every run: what a process leaves behind (cold caches, a
    server that still tidies up) would else always burden the same next case.

    Parameters: `folder` is the working folder of the processes; `warm_ups` rounds come first and count for
    nothing; `on_round` is told the number of each round that counts, from 1.
    Raises: subprocess.CalledProcessError when a command fails.
    """
    order, shuffler = list(cases), random.Random(0)  # noqa: S311 - an order, no secret
    found: dict[str, list[tuple[float, float]]] = {case.name: [] for case in cases}
    for number in range(1 - warm_ups, rounds + 1):
        if number > 0:
            on_round(number)
        shuffler.shuffle(order)
        for case in order:
            taken = run(case, folder)
            if number > 0:
                found[case.name].append(taken)
    return {name: Times(tuple(w for w, _ in taken), tuple(c for _, c in taken)) for name, taken in found.items()}


def run(case: Case, folder: Path) -> tuple[float, float]:
    """Run a command to its end; return its wall and CPU time in milliseconds."""
    cpu, start = _children_cpu(), time.perf_counter()
    subprocess.run(
        case.command,
        cwd=folder,
        env=case.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    wall = time.perf_counter() - start
    return wall * 1000, (_children_cpu() - cpu) * 1000


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
