"""Progress as JSON lines: at most one a second for the same work, and its last state."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bazar_cli.terminal import progress
from bazar_cli.terminal.progress import ProgressMode, shown


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is written."""
    written = list[dict[str, Any]]()

    def write(text: str) -> None:
        written.append(json.loads(text)["progress"])

    monkeypatch.setattr(progress, "write_message", write)
    return written


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which a test sets."""
    now = [100.0]
    monkeypatch.setattr("bazar_cli.terminal.progress.time.monotonic", lambda: now[0])
    return now


def test_rate_and_remaining_time_are_of_the_same_work(lines: list[dict[str, Any]], clock: list[float]) -> None:
    with shown(ProgressMode.JSON, {}) as report:
        for second in range(9):
            clock[0] = 100 + second / 4
            report("rows applied", second * 10, 200)
        clock[0] += 0.5
        report("users removed", 0, None)
    assert lines == [
        {"doing": "rows applied", "done": 40, "total": 200, "per_second": 40.0, "seconds_left": 4},
        {"doing": "rows applied", "done": 80, "total": 200, "per_second": 40.0, "seconds_left": 3},
        {"doing": "users removed", "done": 0, "total": None, "per_second": 0.0, "seconds_left": None},
    ]


def test_last_state_is_written_once(lines: list[dict[str, Any]], clock: list[float]) -> None:
    with shown(ProgressMode.JSON, {}, quiet=True) as report:
        report("rows", 1, 2)
        report("rows", 2, 2)
    assert [line["done"] for line in lines] == [2]


@pytest.mark.parametrize("mode", [ProgressMode.AUTO, ProgressMode.NONE])
def test_without_a_terminal_nothing_is_written(lines: list[dict[str, Any]], mode: ProgressMode) -> None:
    with shown(mode, {}) as report:
        report("rows", 1, 2)
    assert lines == []
