"""The progress of long work on standard error: a bar with rate and remaining time, or JSON lines for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Annotated, TypeAlias

from typer import Option

from bazar_cli.domain.progress import Progress, ignored
from bazar_cli.domain.text_enum import TextEnum
from bazar_cli.terminal.streams import draws, is_terminal, messages, write_message

_SECONDS = 1.0
"""The shortest time between two JSON lines on the same work."""


class ProgressMode(TextEnum):
    """How progress is shown."""

    AUTO = "auto"
    JSON = "json"
    NONE = "none"


ProgressOption: TypeAlias = Annotated[
    ProgressMode, Option("--progress", help="auto (default): a bar on a terminal; json: lines; none", metavar="MODE")
]


@contextmanager
def shown(mode: ProgressMode, environ: Mapping[str, str], *, quiet: bool = False) -> Generator[Progress]:
    """Lend what shows progress. Parameters: `quiet` shows no bar; JSON lines were asked for, and are written."""
    if mode is ProgressMode.JSON:
        lines = _JsonLines()
        yield lines.report
        lines.end()
    elif mode is ProgressMode.AUTO and not quiet and is_terminal(messages()) and draws(messages(), environ):
        with _bars() as progress:
            yield progress
    else:
        yield ignored


class _JsonLines:
    """Writes `{"progress": {...}}` at most once a second for the same work, and its last state."""

    def __init__(self) -> None:
        self._doing = ""
        self._last: tuple[int, int | None] | None = None
        """The last state, until it is written."""
        self._begun = (0.0, 0)
        self._written = 0.0

    def report(self, doing: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if doing != self._doing:
            self.end()
            self._doing, self._begun, self._written = doing, (now, done), now
        self._last = (done, total)
        if now - self._written >= _SECONDS:
            self._write(now)

    def end(self) -> None:
        if self._last is not None:
            self._write(time.monotonic())

    def _write(self, now: float) -> None:
        assert self._last is not None, "a state was reported"
        (done, total), (began, from_) = self._last, self._begun
        rate = (done - from_) / (now - began) if now > began else 0.0
        left = None if total is None or rate <= 0 else round((total - done) / rate)
        record = {
            "doing": self._doing,
            "done": done,
            "total": total,
            "per_second": round(rate, 1),
            "seconds_left": left,
        }
        write_message(json.dumps({"progress": record}) + "\n")
        self._last, self._written = None, now


@contextmanager
def _bars() -> Generator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    console = Console(file=messages(), stderr=True)
    found: dict[str, TaskID] = {}
    with Bars(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bars:

        def report(doing: str, done: int, total: int | None) -> None:
            if doing not in found:
                found[doing] = bars.add_task(doing, total=total, rate="")
            speed = bars.tasks[found[doing]].speed
            bars.update(found[doing], completed=done, total=total, rate=f"{speed:,.0f}/s" if speed else "")

        yield report
