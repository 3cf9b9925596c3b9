"""The findings of a check of a file, each with its line and column. One finding refuses the whole file."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from bazar_cli.domain.errors import BazarError, Denied, ExitCode, UsageError
from bazar_cli.domain.findings import DETAILED, as_lines
from bazar_cli.domain.texts import counted


@dataclass(frozen=True, order=True)
class Finding:
    """A fault in one line of a file."""

    line: int
    """From 1, as an editor counts."""
    column: str
    """The name of the column; `character N` in a line that cannot be split into columns, empty for the whole line."""
    code: str
    message: str
    denies: bool = False
    """The operator may not write this row."""

    @property
    def text(self) -> str:
        """The finding as one line."""
        place = f"line {self.line}, {self.column}" if self.column else f"line {self.line}"
        return f"{place}: {self.message}"

    @property
    def as_json(self) -> Mapping[str, object]:
        """The finding as details of an error have it."""
        return {"line": self.line, "column": self.column or None, "code": self.code, "message": self.message}


class Findings:
    """Counts findings and keeps the first ones, in flat memory."""

    def __init__(self) -> None:
        self.count = 0
        self.denials = 0
        self._first: list[tuple[int, int, Finding]] = []
        """A heap with the last line on top."""

    def add(self, finding: Finding) -> None:
        """Add a finding."""
        self.add_counted(finding, 1)

    def add_counted(self, finding: Finding, count: int) -> None:
        """Add the finding of a line, and count it as `count`: the others of its kind are beyond those that are kept."""
        self.count += count
        self.denials += count if finding.denies else 0
        entry = (-finding.line, -self.count, finding)
        if len(self._first) < DETAILED:
            heapq.heappush(self._first, entry)
        else:
            heapq.heappushpop(self._first, entry)

    @property
    def first(self) -> list[Finding]:
        """The first findings, by line."""
        return [finding for _, _, finding in sorted(self._first, reverse=True)]

    def error(self, named: str) -> BazarError:
        """Return the error that refuses the file. Parameters: `named` is its name in messages."""
        first = self.first
        below = as_lines([finding.text for finding in first], self.count)
        details: dict[str, object] = {"count": self.count, "findings": [finding.as_json for finding in first]}
        if self.denials == self.count:
            rows = counted(self.count, "row")
            return Denied(
                "imports.denied",
                f"you may not write {rows} of {named}, and nothing was written",
                below=below,
                hint="remove these rows, or ask a superuser to import them",
                details=details,
            )
        return UsageError(
            "imports.file_invalid",
            f"{named} has {counted(self.count, 'fault')}, and nothing was written",
            below=below,
            hint="correct the file and run the command again; `bazar users import --help` names the columns",
            details=details,
        )


class Unreadable(Exception):
    """A fault after which the rest of the file cannot be read."""

    exit_code = ExitCode.USAGE

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.text)
        self.finding = finding
