"""Embedded stacks of the `local` tests: started once, gone from processes and disk afterwards."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bazar_cli.devstack.paths import StackPaths
from tests.support.cli import Bazar, Done

GROUP = pytest.mark.xdist_group("local")
"""Sends all of these tests to one worker. Without grouping each worker starts its own stack."""
START = ("local", "start", "-o", "json")


@contextmanager
def stack_home(home: Path) -> Generator[Bazar]:
    """Yield `bazar` with its own home; its stack is stopped and deleted afterwards."""
    bazar = Bazar(home)
    try:
        yield bazar
    finally:
        bazar("local", "reset", "--confirm", "local").ok()


def postmasters(bazar: Bazar) -> int:
    """How many Postgres servers run on the data of this home."""
    mark = f"cluster_name=bazar-{StackPaths.for_data_dir(bazar.home / 'data').key}"
    shown = subprocess.run(["ps", "-ww", "-eo", "args="], capture_output=True, text=True, check=True)
    return sum(mark in line.split() for line in shown.stdout.splitlines())


def parts(bazar: Bazar) -> dict[str, dict[str, Any]]:
    """The rows of `local status` by component."""
    items = bazar("local", "status", "-o", "json").ok().json["items"]
    return {item["component"]: item for item in items}


def environment(bazar: Bazar) -> dict[str, str]:
    """The variables of `local env`."""
    return bazar("local", "env", "-o", "json").ok().json


def ended(process: subprocess.Popen[bytes]) -> Done:
    """Wait for a process that was started; how it ended."""
    out, err = process.communicate()
    return Done(process.returncode, out.decode(), err.decode())


@dataclass(frozen=True)
class Shared:
    """The stack that most tests use, and the results of the two commands that started it at the same time."""

    bazar: Bazar
    starts: list[Done]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Generator[Shared]:
    """A running stack in a home with spaces in its path; a test that stops it starts it again."""
    with stack_home(tmp_path_factory.mktemp("local") / "a home with spaces") as bazar:
        running = [bazar.start(*START) for _ in range(2)]
        starts = [ended(process).ok() for process in running]
        yield Shared(bazar, sorted(starts, key=lambda done: json.loads(done.out)["already_running"]))


@pytest.fixture(scope="session")
def local(shared: Shared) -> Bazar:
    """`bazar` in the home of the shared stack."""
    return shared.bazar
