"""The sessions that hold or await locks: the migration lock, and those on bazar's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.errors import InsufficientPrivilege

from bazar_cli.adapters.postgres.migration_lock import KEY
from bazar_cli.adapters.postgres.rows import fetch_all, fetch_value
from bazar_cli.domain.db.locks import LockSession, without_literals
from bazar_cli.domain.errors import Conflict

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.connections import Connection

# A session that waits for a row waits for the transaction that holds it; both have a lock on the table.
_SESSIONS = """
    WITH held AS (
        SELECT l.pid, l.granted, c.relname,
               l.locktype = 'advisory' AND l.objsubid = 1
                   AND ((l.classid::bigint << 32) | l.objid::bigint) = %(key)s AS migration
        FROM pg_locks l
        LEFT JOIN pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p', 'v', 'm')
            AND c.relnamespace = to_regnamespace('bazar')
        WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ),
    involved AS (
        SELECT pid, bool_or(migration AND granted) AS migrating,
               array_agg(DISTINCT relname::text ORDER BY relname::text) FILTER (WHERE relname IS NOT NULL) AS tables
        FROM held WHERE migration OR relname IS NOT NULL GROUP BY pid
    ),
    waiting AS (
        SELECT pid, array_remove(pg_blocking_pids(pid), 0) AS blocked_by
        FROM involved WHERE pid IN (SELECT pid FROM pg_locks WHERE NOT granted)
    ),
    listed AS (SELECT pid FROM involved UNION SELECT unnest(blocked_by) FROM waiting)
    SELECT a.pid, a.application_name AS application, a.usename AS user, a.state, a.query, a.backend_start AS started_at,
           extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.backend_start))::int AS age_seconds,
           coalesce(o.migrating, false) AS migrating, coalesce(o.tables, ARRAY[]::text[]) AS tables,
           coalesce(w.blocked_by, ARRAY[]::int[]) AS blocked_by
    FROM listed JOIN pg_stat_activity a USING (pid)
    LEFT JOIN involved o USING (pid) LEFT JOIN waiting w USING (pid)
    WHERE a.pid <> pg_backend_pid()
    ORDER BY migrating DESC, cardinality(coalesce(w.blocked_by, ARRAY[]::int[])), a.xact_start NULLS LAST, a.pid
"""
_IS_THERE = """
    SELECT EXISTS (SELECT 1 FROM pg_stat_activity
                   WHERE pid = %(pid)s AND backend_start IS NOT DISTINCT FROM %(started_at)s::timestamptz)
"""


def sessions(connection: Connection) -> tuple[LockSession, ...]:
    """Return every other session that holds or awaits one of these locks, and the sessions that block them."""
    return tuple(fetch_all(connection, _session, _SESSIONS, {"key": KEY}))


def end(connection: Connection, session: LockSession) -> bool:
    """Ask Postgres to end a session; return False if it has already ended.

    Raises: Conflict `db.may_not_terminate` where the role of the connection may not.
    """
    try:
        return fetch_value(connection, "SELECT pg_terminate_backend(%s)", (session.pid,))
    except InsufficientPrivilege as error:
        raise Conflict(
            "db.may_not_terminate",
            f"the database user may not end {session.text}",
            hint=f"let {session.user or 'its owner'} end it, or a role with pg_signal_backend",
            details={"pid": session.pid, "user": session.user},
        ) from error


def is_there(connection: Connection, session: LockSession) -> bool:
    """Say whether a session still exists."""
    return fetch_value(connection, _IS_THERE, {"pid": session.pid, "started_at": session.started_at})


def _session(
    *, application: str, tables: list[str], blocked_by: list[int], state: str | None, query: str | None, **columns: Any
) -> LockSession:
    return LockSession(
        application=application or None,
        tables=tuple(tables),
        blocked_by=tuple(sorted(set(blocked_by))),
        state=state,
        query=without_literals(query) if query and state else None,
        **columns,
    )
