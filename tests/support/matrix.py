"""The matrix of `tests/data/matrix.md`: every cell, or an error that names the missing ones."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.errors import ExitCode
from tests.support.tree import ALL

PATH = Path(__file__).parents[1] / "data" / "matrix.md"
USERS = ("oneself", "member", "admin", "owner", "superuser", "shared", "foreign", "alone", "nobody")
ORGS = ("acme", "beta", "nowhere")
ROLES = ("superuser", *(role.value for role in Role), "none")
OTHERS = ("suspended", "deleted", "stranger", "signed-out")
OPERATORS = (*(f"{plan}/{role}" for plan in Plan for role in ROLES), *OTHERS)
"""The columns, by name."""
_HEADS = ("Command", *(plan.value for plan in Plan), "else")
_DONE = {ExitCode.DONE, ExitCode.PARTIAL, ExitCode.FINDING}
_PLACEHOLDER = re.compile(r"\{([a-z-]+)\}")


@dataclass(frozen=True)
class Outcome:
    """A word of the legend."""

    word: str
    exit_code: int
    error_code: str
    """Empty if the command fails without one."""


@dataclass(frozen=True)
class Row:
    """A command line, and its outcome for each operator."""

    line: str
    cells: dict[str, Outcome]

    @property
    def command(self) -> str:
        """The words of the tree that it starts with."""
        words = self.line.split()
        found = [" ".join(words[:count]) for count in range(1, len(words) + 1) if " ".join(words[:count]) in ALL]
        assert found, f"{self.line!r} is no command of the tree"
        return found[-1]

    @property
    def placeholders(self) -> list[str]:
        """The placeholders in it, in order."""
        return _PLACEHOLDER.findall(self.line)

    @property
    def groups(self) -> list[list[tuple[str, Outcome]]]:
        """The operators of each plan with their outcomes, the most powerful operator first."""
        cells = [(operator, self.cells[operator]) for operator in OPERATORS]
        return [cells[start : start + len(ROLES)] for start in range(0, len(Plan) * len(ROLES), len(ROLES))]

    @property
    def deciding(self) -> list[str]:
        """The operators with a plan at whom the outcome changes: `docs/testing.md` says why they decide the others.

        They are the last operator of several who may, the first of several who may not, and the superuser on Premium.
        A plan with the outcomes of Premium has one of them.
        """
        *others, premium = self.groups
        found = [premium[0][0], *_at_changes(premium)]
        for group in others:
            at_changes = _at_changes(group)
            same = [outcome for _, outcome in group] == [outcome for _, outcome in premium]
            found += at_changes[:1] if same else at_changes
        return list(dict.fromkeys(found))

    def words(self, values: dict[str, str]) -> tuple[list[str], str]:
        """Return the arguments and standard input, with values for the placeholders."""
        arguments, _, given = self.line.partition(" <<< ")

        def filled(text: str) -> str:
            return _PLACEHOLDER.sub(lambda match: values[match[1]], text)

        return [filled(word) for word in shlex.split(arguments)], f"{filled(given)}\n" if given else ""


def outcome_runs(group: list[tuple[str, Outcome]]) -> list[list[tuple[str, Outcome]]]:
    """The neighbours in a group that have the same outcome."""
    return [list(run) for _, run in groupby(group, key=lambda cell: cell[1])]


def _at_changes(group: list[tuple[str, Outcome]]) -> list[str]:
    return [run[-1 if run[0][1].exit_code in _DONE else 0][0] for run in outcome_runs(group)]


@dataclass(frozen=True)
class Matrix:
    """The whole file."""

    outcomes: dict[str, Outcome]
    rows: dict[str, Row]
    """By their command line."""
    agreements: tuple[tuple[str, str], ...]
    """Lines of `plans check`, each with the line of the command that it speaks of."""

    def operators(self, row: Row) -> list[str]:
        """The operators for whom every run tries a row: those that decide, for the first row of a command also others.

        They are one who is suspended or being deleted, by turns, and those without a user and without a session.
        """
        lines = list(self.rows)
        first = next(other for other in self.rows.values() if other.command == row.command)
        inactive, others = OTHERS[:2], OTHERS[2:]
        return [*row.deciding, *((inactive[lines.index(row.line) % 2], *others) if row is first else ())]


@lru_cache(maxsize=1)
def matrix() -> Matrix:
    """Read the file. Raises: AssertionError that names the line or cell that is missing or unknown."""
    outcomes: dict[str, Outcome] = {}
    rows: dict[str, Row] = {}
    agreements: list[tuple[str, str]] = []
    for heads, cells in _tables(PATH.read_text()):
        if heads == ("Word", "Exit", "Error code"):
            outcomes[cells[0]] = Outcome(cells[0], int(cells[1]), cells[2])
        elif heads == _HEADS:
            row = _row(cells, outcomes)
            assert row.line not in rows, f"{row.line!r} has two rows"
            rows[row.line] = row
        elif heads == ("Check", "Command"):
            agreements.append((cells[0].strip("`"), cells[1].strip("`")))
        else:
            assert heads == ("Placeholder", "Stands for"), f"a table with these columns is unknown: {heads}"
    return Matrix(outcomes, rows, tuple(agreements))


def _row(cells: tuple[str, ...], outcomes: dict[str, Outcome]) -> Row:
    line = cells[0].strip("`")
    groups = [cell.split() for cell in cells[1:]]
    assert [len(group) for group in groups] == [*[len(ROLES)] * len(Plan), len(OTHERS)], f"{line!r} lacks a cell"
    words = [word for group in groups for word in group]
    unknown = set(words) - outcomes.keys()
    assert not unknown, f"{line!r} ends in what the legend does not have: {unknown}"
    return Row(line, {operator: outcomes[word] for operator, word in zip(OPERATORS, words, strict=True)})


def _tables(text: str) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yield each row of each table, with the heads of its columns."""
    heads: tuple[str, ...] = ()
    for line in text.splitlines():
        if not line.startswith("|"):
            heads = ()
            continue
        cells = tuple(cell.strip() for cell in line.strip("|").split("|"))
        if not heads:
            heads = cells
        elif not set(line) <= set("|- "):
            yield heads, cells
