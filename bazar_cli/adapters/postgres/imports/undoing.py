"""The undo of an import: its rows, the changes of their users, and deletions of many users at once.

A chunk of users is deleted with one lease, as `creations` creates one.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bazar_cli.adapters.postgres.imports.creations import ERASED
from bazar_cli.adapters.postgres.imports.held_users import LEASE_END, delete_held, held
from bazar_cli.adapters.postgres.rows import fetch_all, fetch_value, fetch_values
from bazar_cli.adapters.postgres.users.changes import LEASE_SECONDS
from bazar_cli.domain.entities import Role

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.connections import Connection

_LOCK_RUN = "SELECT 1 FROM bazar.import_runs WHERE id = %(run)s FOR UPDATE"
_LOCK_OPEN = """
    SELECT count(*) FROM (
        SELECT 1 FROM bazar.import_rows WHERE run_id = %(run)s AND status = 'open' ORDER BY line FOR UPDATE) AS locked
"""
# A new user whose identity was being created counts as created: the undo deletes both.
_CLOSE_ROWS = f"""
    UPDATE bazar.import_rows r
    SET status = CASE WHEN b.id IS NULL THEN 'undone' ELSE 'created' END,
        action = CASE WHEN b.id IS NULL THEN 'none' ELSE 'create' END,
        organizations = CASE WHEN b.id IS NOT NULL THEN r.organizations END,
        awaits_hash = false, claim = NULL, claimed_until = NULL, {ERASED}
    FROM bazar.import_rows o
    LEFT JOIN bazar.users b ON b.id = o.user_id AND b.email = o.email AND b.pending = 'create' AND o.action = 'create'
    WHERE o.run_id = %(run)s AND o.status = 'open' AND r.run_id = o.run_id AND r.line = o.line
"""  # noqa: S608 - constants
_CLOSE_RUN = "UPDATE bazar.import_runs SET finished_at = clock_timestamp() WHERE id = %(run)s"
_COUNTS = """
    SELECT count(*) AS created, count(*) FILTER (WHERE status = 'undone') AS undone FROM bazar.import_rows
    WHERE run_id = %(run)s AND action = 'create' AND status IN ('created', 'undone')
"""
# A dry run has not ended an open run.
_CREATED = """
    SELECT line, user_id, email, organizations, user_updated_at AS updated_at FROM bazar.import_rows r
    WHERE run_id = %(run)s AND line > %(line)s AND (status = 'created' OR (status = 'open' AND EXISTS (
        SELECT 1 FROM bazar.users u WHERE u.id = r.user_id AND u.email = r.email AND u.pending = 'create')))
    ORDER BY line LIMIT %(count)s
"""
_CHANGED = """
    SELECT DISTINCT CAST(target_id AS uuid) FROM bazar.audit_events
    WHERE target_id = ANY(%(ids)s::text[]) AND target_type = 'user' AND outcome = 'done'
      AND use_case NOT IN ('users.import', 'users.delete')
"""
_BEGIN = f"""
    UPDATE bazar.users SET pending = 'delete', lease_owner = %(claim)s, lease_until = {LEASE_END},
           updated_at = clock_timestamp()
    WHERE id = ANY(%(ids)s::uuid[])
"""  # noqa: S608 - constants
_RENEW = f"""
    WITH {held("delete")}
    UPDATE bazar.users SET lease_until = {LEASE_END} WHERE id IN (SELECT id FROM held) RETURNING id
"""  # noqa: S608 - constants
_REMOVE = delete_held("delete")
_RELEASE = """
    UPDATE bazar.users SET lease_owner = NULL, lease_until = NULL
    WHERE id = ANY(%(ids)s::uuid[]) AND lease_owner = %(claim)s
"""
_MARK = """
    UPDATE bazar.import_rows r SET status = 'undone', organizations = NULL
    WHERE run_id = %(run)s AND line = ANY(%(lines)s::bigint[]) AND status = 'created'
      AND NOT EXISTS (SELECT 1 FROM bazar.users u WHERE u.id = r.user_id)
"""
_END = "UPDATE bazar.import_runs SET undone_at = clock_timestamp() WHERE id = %(run)s"


@dataclass(frozen=True)
class CreatedRow:
    """A row whose user a run created, and what the user was then."""

    line: int
    user_id: uuid.UUID
    email: str
    memberships: frozenset[tuple[uuid.UUID, Role]]
    updated_at: datetime | None
    """None for a user whose creation the undo of an open run interrupted."""


def close(connection: Connection, run_id: uuid.UUID) -> int:
    """End an open run, and erase what its rows have; return how many rows were not applied.

    Rows that an importer works on are waited for. New users whose identity was being created count as created.
    """
    connection.execute("SET LOCAL lock_timeout = 0")
    connection.execute(_LOCK_RUN, {"run": run_id})
    # A statement of its own: the next one sees the users that the importers have inserted meanwhile.
    locked: int = fetch_value(connection, _LOCK_OPEN, {"run": run_id})
    created = connection.execute(f"{_CLOSE_ROWS} AND b.id IS NOT NULL", {"run": run_id}).rowcount
    connection.execute(_CLOSE_ROWS, {"run": run_id})
    connection.execute(_CLOSE_RUN, {"run": run_id})
    return locked - created


def counts(connection: Connection, run_id: uuid.UUID) -> tuple[int, int]:
    """Count the users that a run created, and those of them who are undone."""
    return connection.execute(_COUNTS, {"run": run_id}).fetchall()[0]


def created_after(connection: Connection, run_id: uuid.UUID, line: int, count: int) -> list[CreatedRow]:
    """Return the next rows behind a line whose users the run created."""
    return fetch_all(connection, _created, _CREATED, {"run": run_id, "line": line, "count": count})


def changed(connection: Connection, rows: Sequence[CreatedRow]) -> frozenset[uuid.UUID]:
    """Return the users who were changed by any command but imports and deletions, whatever they have now."""
    return frozenset(fetch_values(connection, _CHANGED, {"ids": [str(row.user_id) for row in rows]}))


def begin(connection: Connection, rows: Collection[CreatedRow], claim: uuid.UUID) -> None:
    """Write `pending delete` of locked users, with the lease of this command."""
    connection.execute(_BEGIN, _of(rows, claim))


def renew(connection: Connection, rows: Collection[CreatedRow], claim: uuid.UUID) -> set[int]:
    """Renew the lease; return the lines of the rows whose users this command still holds."""
    held = frozenset[uuid.UUID](fetch_values(connection, _RENEW, _of(rows, claim)))
    return {row.line for row in rows if row.user_id in held}


def remove_identities(connection: Connection, rows: Collection[CreatedRow]) -> None:
    """Delete identities by SQL. Requires that `auth_schema.may_delete` returned True."""
    connection.execute("DELETE FROM auth.users WHERE id = ANY(%s::uuid[])", ([row.user_id for row in rows],))


def remove(connection: Connection, rows: Collection[CreatedRow], claim: uuid.UUID) -> frozenset[uuid.UUID]:
    """Delete users; return the ids of those that this command still held."""
    return frozenset(fetch_values(connection, _REMOVE, _of(rows, claim)))


def release(connection: Connection, rows: Collection[CreatedRow], claim: uuid.UUID) -> None:
    """Release the lease; `pending` stays.

    It waits for rows only for a second: leases run out by themselves.
    """
    connection.execute("SET LOCAL lock_timeout = '1s'")
    connection.execute(_RELEASE, _of(rows, claim))


def mark(connection: Connection, run_id: uuid.UUID, lines: Collection[int]) -> None:
    """Note of which of these rows the users are gone; an operator does not see all that are there."""
    connection.execute(_MARK, {"run": run_id, "lines": list(lines)})


def end(connection: Connection, run_id: uuid.UUID) -> None:
    """Note that an undo of the run ended."""
    connection.execute(_END, {"run": run_id})


def _of(rows: Collection[CreatedRow], claim: uuid.UUID) -> Mapping[str, object]:
    return {"ids": [row.user_id for row in rows], "claim": claim, "seconds": LEASE_SECONDS}


def _created(*, organizations: Sequence[Mapping[str, str]] | None, **columns: Any) -> CreatedRow:
    memberships = frozenset((uuid.UUID(o["id"]), Role(o["role"])) for o in organizations or ())
    return CreatedRow(memberships=memberships, **columns)
