"""About how many rows tables have, for texts of what a command would remove."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bazar_cli.domain.db.migrations import LostTable

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.connections import Connection

# Estimates, as a count would read every row: of the planner, or of the statistics where nothing was analyzed yet.
_ESTIMATES = """
    SELECT t, greatest(c.reltuples::bigint, pg_stat_get_live_tuples(c.oid), 0)
    FROM unnest(%s::text[]) WITH ORDINALITY AS x (t, n) JOIN pg_class c ON c.oid = to_regclass(t) ORDER BY n
"""


def estimated_rows(connection: Connection, tables: Iterable[str]) -> tuple[LostTable, ...]:
    """Return about how many rows tables hold, those that are there. Raises: psycopg.Error."""
    rows = connection.execute(_ESTIMATES, (list(tables),)).fetchall()
    return tuple(LostTable(str(name), int(count)) for name, count in rows)
