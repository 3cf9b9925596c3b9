"""What a result looks like: one view per kind of result, used by every format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Generic, TypeVar

from bazar_cli.domain.errors import UsageError

T = TypeVar("T")
U = TypeVar("U")
Value = Any
"""What JSON can hold: str, int, float, bool, None, lists and mappings of these."""


@dataclass(frozen=True)
class View(Generic[T]):
    """The fields of one kind of result, in order.

    Parameters: `fields` maps a field's stable name to its value; `table` names those that a list shows in a
    table (default: all); `identifier` is what `-o ids` prints, None where there is no id: for the whole kind, or
    for one result, of which nothing is printed then; `optional` fields are
    left out of a single result that has none, unless --fields names them; `cells` are texts
    for table and CSV where the value itself has no good one, `shown` for the table alone; `raw` makes the plain
    text of a result that is no record, such as a token; None of a result that is one after all; `for_shells`
    keeps that text when BAZAR_OUTPUT is set, because `$(...)` and `eval` read it: only -o changes it; `drawn`
    are texts in place of a list's cells where a table is drawn, and `bars` adds a bar there, of a part of 1;
    `lines` shows a field of a single result as so many lines of its table.
    """

    fields: Mapping[str, Callable[[T], Value]]
    table: tuple[str, ...] = ()
    identifier: Callable[[T], str | None] | None = None
    optional: frozenset[str] = frozenset()
    cells: Mapping[str, Callable[[T], str]] = field(default_factory=dict[str, Callable[[T], str]])
    shown: Mapping[str, Callable[[T], str]] = field(default_factory=dict[str, Callable[[T], str]])
    raw: Callable[[T], str | None] | None = None
    for_shells: bool = False
    drawn: Mapping[str, Callable[[T], str]] = field(default_factory=dict[str, Callable[[T], str]])
    bars: Callable[[T], float] | None = None
    lines: Mapping[str, Callable[[T], tuple[str, ...]]] = field(
        default_factory=dict[str, Callable[[T], tuple[str, ...]]]
    )

    def chosen(self, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
        """Return the fields that `--fields` names, in its order; all of them without it.

        Raises: UsageError `output.unknown_field`, listing the known ones.
        """
        if wanted is None:
            return tuple(self.fields)
        unknown = [name for name in wanted if name not in self.fields]
        if unknown or not wanted:
            raise UsageError(
                "output.unknown_field",
                f"unknown field {', '.join(repr(n) for n in unknown) or 'list: it is empty'}",
                hint=f"known fields: {', '.join(self.fields)}",
                details={"known": list(self.fields)},
            )
        return wanted

    def of(self, item: T, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
        """Return the fields to show of one item."""
        names = self.chosen(wanted)
        if wanted is not None:
            return names
        return tuple(n for n in names if n not in self.optional or self.fields[n](item) is not None)

    def record(self, item: T, names: tuple[str, ...]) -> dict[str, Value]:
        """Return an item as a JSON object."""
        return {name: self.fields[name](item) for name in names}

    def cell(self, item: T, name: str) -> str:
        """Return one field as a CSV cell: empty for nothing, `true` and `false` for truth values."""
        if name in self.cells:
            return self.cells[name](item)
        value = self.fields[name](item)
        if value is None:
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, list | tuple):
            return ";".join(str(v) for v in value)  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
        return str(value)


def fields_of(view: View[T], part: Callable[[U], T]) -> dict[str, Callable[[U], Value]]:
    """Return the fields of a view for results that hold what it shows; `part` takes it out of them."""

    def through(getter: Callable[[T], Value]) -> Callable[[U], Value]:
        return lambda item: getter(part(item))

    return {name: through(getter) for name, getter in view.fields.items()}


def rfc3339(moment: datetime | None) -> str | None:
    """Return a moment in RFC 3339, UTC, with microseconds where there are any."""
    if moment is None:
        return None
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def created_cell(*, created: bool, planned: bool) -> str:
    """Return for people whether something was created; `planned` says that a dry run only looked."""
    if planned and created:
        return "would create"
    return "yes" if created else "no"
