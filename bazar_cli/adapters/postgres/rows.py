"""About how many rows tables hold."""

from __future__ import annotations

from collections.abc import Iterable

import psycopg

from bazar_cli.domain.db.migrations import LostTable

# Estimates, as a count would read every row: of the planner, or of the statistics where nothing was analyzed yet.
_ROWS = """
    SELECT t, greatest(c.reltuples::bigint, pg_stat_get_live_tuples(c.oid), 0)
    FROM unnest(%s::text[]) WITH ORDINALITY AS x (t, n) JOIN pg_class c ON c.oid = to_regclass(t) ORDER BY n
"""


def estimated_rows(connection: psycopg.Connection, tables: Iterable[str]) -> tuple[LostTable, ...]:
    """Return about how many rows tables hold, those that are there. Raises: psycopg.Error."""
    rows = connection.execute(_ROWS, (list(tables),)).fetchall()
    return tuple(LostTable(str(name), int(count)) for name, count in rows)
