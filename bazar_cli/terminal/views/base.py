"""Views: one for each kind of result, used by every format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from operator import attrgetter
from typing import Any, Generic, TypeVar, cast

from bazar_cli.domain.errors import UsageError
from bazar_cli.terminal.views.encoding import NOTHING, Encoders, Record, Value, rfc3339

__all__ = ["Value", "View", "created_cell", "rfc3339"]

T = TypeVar("T")
Texts = Mapping[str, Callable[[Any], str]]
"""Functions by the name of a field, applied to its value before it becomes JSON."""

_TO_THE_SECOND = frozenset({"created_at", "occurred_at"})
"""Times that a table shows in seconds. Nobody types them back, while --if-unchanged-since takes `updated_at`."""


def _nothing() -> Mapping[str, Any]:
    return NOTHING


@dataclass(frozen=True)
class View(Generic[T]):
    """The fields of one kind of result, in order, and how they look.

    The fields are those of the dataclass `kind`; `paths`, `renamed`, `computed` and `encoders` declare what differs,
    as in `Record`.

    Parameters: `table` names the columns of a list (default: all fields); `columns` are values of the result that
    tables show in place of a field, or as one more column; `identifier` is what `-o ids` prints: a path, or a function
    that returns None for a result without an id; `optional` fields are left out of a single result where they are
    None, unless --fields names them.
    Texts: `cells` for CSV and tables, `shown` for tables alone, `drawn` for a list on a terminal; `lines` shows a field
    of a single result as several lines; `bars` adds a bar to each row there, a part of 1.
    `raw` makes a plain text instead of a table, or None for a table after all; `for_shells` keeps that text when
    BAZAR_OUTPUT is set, because `$(...)` and `eval` read it: only -o changes it. `is_diff` says that the lines of `raw`
    begin with the signs of a diff, which have colours.
    """

    kind: type[T] | None = None
    paths: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=_nothing)
    computed: Mapping[str, Callable[[T], object]] = field(default_factory=_nothing)
    encoders: Encoders = field(default_factory=lambda: NOTHING)
    table: tuple[str, ...] = ()
    columns: Mapping[str, Callable[[T], object]] = field(default_factory=_nothing)
    identifier: str | Callable[[T], str | None] | None = None
    optional: frozenset[str] = frozenset()
    cells: Texts = field(default_factory=_nothing)
    shown: Texts = field(default_factory=_nothing)
    drawn: Texts = field(default_factory=_nothing)
    lines: Mapping[str, Callable[[Any], tuple[str, ...]]] = field(default_factory=_nothing)
    bars: Callable[[T], float] | None = None
    raw: Callable[[T], str | None] | None = None
    for_shells: bool = False
    is_diff: bool = False

    @cached_property
    def record(self) -> Record[T]:
        """The fields, and how their values become JSON."""
        return Record(self.kind, paths=self.paths, renamed=self.renamed, computed=self.computed, encoders=self.encoders)

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of all fields."""
        return tuple(self.record.getters)

    def chosen(self, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
        """Return the fields that `--fields` names, in its order; all of them without it.

        Raises: UsageError `output.unknown_field`, listing the known ones.
        """
        if wanted is None:
            return self.fields
        unknown = [name for name in wanted if name not in self.fields]
        if unknown or not wanted:
            raise UsageError(
                "output.unknown_field",
                f"unknown field {', '.join(repr(n) for n in unknown) or 'list: it is empty'}",
                hint=f"known fields: {', '.join(self.fields)}",
                details={"known": list(self.fields)},
            )
        return wanted

    def chosen_of(self, item: T, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
        """Return the fields to show of a single result."""
        names = self.chosen(wanted)
        if wanted is not None:
            return names
        return tuple(n for n in names if n not in self.optional or self.record.getters[n](item) is not None)

    def id_of(self, item: T) -> str | None:
        """Return what `-o ids` prints of a result."""
        if not isinstance(self.identifier, str):
            return self.identifier(item) if self.identifier is not None else None
        value = attrgetter(self.identifier)(item)
        return None if value is None else str(value)

    def cell(self, name: str) -> Callable[[T], str]:
        """Return the function for one field as a CSV cell: empty for None, `true` and `false` for truth values."""
        return _through(self.record.getters[name], self.cells.get(name) or self._text)

    def table_cell(self, name: str) -> Callable[[T], str]:
        """Return the function for one field or column in a table, which has `yes` and `no` for truth values."""
        text = self.shown.get(name) or self.cells.get(name) or self._text_for_people
        return _through(self._column(name), _to_the_second(text) if name in _TO_THE_SECOND else text)

    def drawn_cell(self, name: str) -> Callable[[T], str]:
        """Return the function for one field or column of a list on a terminal."""
        return _through(self._column(name), self.drawn[name]) if name in self.drawn else self.table_cell(name)

    def table_lines(self, item: T, name: str) -> tuple[str, ...]:
        """Return the lines that one field of a single result has in its table."""
        return self.lines[name](self._column(name)(item)) if name in self.lines else (self.table_cell(name)(item),)

    def _column(self, name: str) -> Callable[[T], object]:
        return self.columns.get(name) or self.record.getters[name]

    def _text_for_people(self, value: object) -> str:
        return ("yes" if value else "no") if isinstance(value, bool) else self._text(value)

    def _text(self, value: object) -> str:
        found = self.record.encoded(value)
        if isinstance(found, str):
            return found
        if found is None:
            return ""
        if isinstance(found, bool):
            return "true" if found else "false"
        if isinstance(found, list):
            return ";".join(map(str, cast("list[object]", found)))
        return str(found)


def _through(get: Callable[[T], object], text: Callable[[Any], str]) -> Callable[[T], str]:
    return lambda item: text(get(item))


def _to_the_second(text: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: text(value.replace(microsecond=0) if isinstance(value, datetime) else value)


def created_cell(*, created: bool, planned: bool) -> str:
    """Return for people whether something was created; `planned` says that a dry run only looked."""
    if planned and created:
        return "would create"
    return "yes" if created else "no"
