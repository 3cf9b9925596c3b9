"""Rows of tables: about how many there are, and the words that stand in them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import TypeVar

import psycopg

from bazar_cli.domain.db.migrations import LostTable
from bazar_cli.domain.errors import Conflict

Word = TypeVar("Word", bound=Enum)

# Estimates, as a count would read every row: of the planner, or of the statistics where nothing was analyzed yet.
_ROWS = """
    SELECT t, greatest(c.reltuples::bigint, pg_stat_get_live_tuples(c.oid), 0)
    FROM unnest(%s::text[]) WITH ORDINALITY AS x (t, n) JOIN pg_class c ON c.oid = to_regclass(t) ORDER BY n
"""


def estimated_rows(connection: psycopg.Connection, tables: Iterable[str]) -> tuple[LostTable, ...]:
    """Return about how many rows tables hold, those that are there. Raises: psycopg.Error."""
    rows = connection.execute(_ROWS, (list(tables),)).fetchall()
    return tuple(LostTable(str(name), int(count)) for name, count in rows)


def word(kind: type[Word], value: str, column: str) -> Word:
    """Return the word that stands in a column. Raises: Conflict `db.unknown_value` where this release knows no such."""
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(str(member.value) for member in kind)
        raise Conflict(
            "db.unknown_value",
            f"bazar.{column} holds {value!r}, and this release knows only {known}",
            hint="take the release of bazar that wrote it; else let the owner of the table correct it there",
            details={"column": column, "value": value},
        ) from None
