"""Chunks of new users of a run: claimed, inserted, settled and taken back by a few statements each.

A chunk is claimed with a lease, which is also the lease of its users (`users.changes`), so both end together. Importers
that share a run skip each other's chunks. A row that was claimed before has a claim that ran out.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bazar_cli.adapters.postgres.imports.held_users import LEASE_END, delete_held, held
from bazar_cli.adapters.postgres.rows import enum_value, fetch_all, fetch_value, fetch_values
from bazar_cli.adapters.postgres.users.changes import LEASE_SECONDS
from bazar_cli.domain.entities import Pending, Plan, Role
from bazar_cli.domain.imports.imports import Action, Status

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.connections import Connection
    from bazar_cli.domain.authz.spec import Grant

_MINE = "r.run_id = %(run)s AND r.line = ANY(%(lines)s::bigint[])"
_FREE = """
    SELECT line, claim IS NOT NULL AS resumed FROM bazar.import_rows
    WHERE run_id = %(run)s AND status = 'open' AND action = %(action)s AND NOT line = ANY(%(but)s::bigint[])
      AND (claimed_until IS NULL OR claimed_until < clock_timestamp())
    ORDER BY line LIMIT %(count)s FOR UPDATE SKIP LOCKED
"""
_CLAIM = f"""
    WITH free AS ({_FREE})
    UPDATE bazar.import_rows r SET claim = %(claim)s, claimed_until = {LEASE_END}
    FROM free WHERE r.run_id = %(run)s AND r.line = free.line
    RETURNING r.line, r.user_id, r.email, r.name, r.plan, r.organizations, r.password_hash, r.user_metadata,
              r.app_metadata, free.resumed
"""  # noqa: S608 - constants
_PLACES = f"""
    SELECT DISTINCT CAST(o ->> 'id' AS uuid) AS id, o ->> 'role' AS role
    FROM bazar.import_rows r, jsonb_array_elements(r.organizations) AS o WHERE {_MINE}
"""  # noqa: S608 - constants
_LINES_OF_PLACE = f"""
    SELECT DISTINCT r.line FROM bazar.import_rows r, jsonb_array_elements(r.organizations) AS o
    WHERE {_MINE} AND CAST(o ->> 'id' AS uuid) = %(organization)s AND o ->> 'role' = %(role)s
"""  # noqa: S608 - constants
_NOWHERE = f"""
    SELECT r.line FROM bazar.import_rows r
    WHERE {_MINE} AND coalesce(jsonb_array_length(r.organizations), 0) = 0
"""  # noqa: S608 - constants
_KEEP = "SELECT id, slug FROM bazar.organizations WHERE id = ANY(%s::uuid[]) ORDER BY id FOR KEY SHARE"
_INSERT = f"""
    INSERT INTO bazar.users (id, email, name, plan, state, pending, lease_owner, lease_until, origin, is_superuser,
                             created_at, updated_at)
    SELECT r.user_id, r.email, nullif(r.name, ''), coalesce(r.plan, 'free'), 'active', 'create', %(claim)s,
           {LEASE_END}, 'created', false, now(), now()
    FROM bazar.import_rows r WHERE {_MINE} ORDER BY r.line
    ON CONFLICT DO NOTHING RETURNING id
"""  # noqa: S608 - constants
_JOIN = f"""
    INSERT INTO bazar.memberships (organization_id, user_id, role, created_at)
    SELECT CAST(o ->> 'id' AS uuid), r.user_id, o ->> 'role', now()
    FROM bazar.import_rows r, jsonb_array_elements(r.organizations) AS o WHERE {_MINE}
    ORDER BY 1, 2
"""  # noqa: S608 - constants
# The first membership is in the event of the new user, as `users create` writes it; each further one has an event.
_RECORD = f"""
    INSERT INTO bazar.audit_events
        (id, operator_id, operator_email, use_case, outcome, target_type, target_id, organization_id, after, request_id)
    SELECT gen_random_uuid(), %(operator_id)s, %(operator_email)s, %(use_case)s, 'done', 'user',
           CAST(r.user_id AS text), CAST(o.place ->> 'id' AS uuid),
           CASE WHEN coalesce(o.position, 1) = 1
                THEN jsonb_build_object('email', u.email, 'name', u.name, 'plan', u.plan)
                ELSE '{{}}' END
           || CASE WHEN o.place IS NULL THEN '{{}}'
                   ELSE jsonb_build_object('organization', o.place ->> 'slug', 'role', o.place ->> 'role') END,
           %(request_id)s
    FROM bazar.import_rows r JOIN bazar.users u ON u.id = r.user_id
    LEFT JOIN LATERAL jsonb_array_elements(r.organizations) WITH ORDINALITY AS o (place, position) ON true
    WHERE {_MINE} ORDER BY r.line, o.position
"""  # noqa: S608 - constants
_RESUME = f"""
    WITH found AS (
        SELECT u.id, r.line FROM bazar.import_rows r JOIN bazar.users u ON u.id = r.user_id
        WHERE {_MINE} AND u.email = r.email AND u.pending = 'create' AND u.origin = 'created'
          AND coalesce(u.lease_until < clock_timestamp(), true)
        ORDER BY u.id FOR UPDATE OF u
    )
    UPDATE bazar.users u SET lease_owner = %(claim)s, lease_until = {LEASE_END} FROM found WHERE u.id = found.id
    RETURNING found.line
"""  # noqa: S608 - constants
_THERE = f"""
    SELECT r.line, r.email, u.id IS NOT NULL AS is_there, u.email = r.email AS has_address, u.pending,
           coalesce(u.lease_until > clock_timestamp(), false) AS leased,
           EXISTS (SELECT 1 FROM bazar.users o WHERE lower(o.email) = r.email AND o.id <> r.user_id) AS address_taken
    FROM bazar.import_rows r LEFT JOIN bazar.users u ON u.id = r.user_id WHERE {_MINE}
"""  # noqa: S608 - constants
_HELD = held("create")
_RENEW = f"""
    WITH {_HELD}, kept AS (
        UPDATE bazar.users SET lease_until = {LEASE_END} WHERE id IN (SELECT id FROM held) RETURNING id
    )
    UPDATE bazar.import_rows r SET claimed_until = {LEASE_END} FROM kept
    WHERE {_MINE} AND r.user_id = kept.id AND r.claim = %(claim)s AND r.status = 'open' RETURNING r.line
"""  # noqa: S608 - constants
_SETTLE = f"""
    WITH {_HELD}
    UPDATE bazar.users SET pending = NULL, lease_owner = NULL, lease_until = NULL, updated_at = clock_timestamp()
    WHERE id IN (SELECT id FROM held) RETURNING id
"""  # noqa: S608 - constants
_TAKE_BACK = delete_held("create")
_RECORD_UNDONE = """
    INSERT INTO bazar.audit_events
        (id, operator_id, operator_email, use_case, outcome, target_type, target_id, before, reason, request_id)
    SELECT gen_random_uuid(), %(operator_id)s, %(operator_email)s, %(use_case)s, 'undone', 'user',
           CAST(r.user_id AS text), jsonb_build_object('email', r.email), w.reason, %(request_id)s
    FROM unnest(%(lines)s::bigint[], %(reasons)s::text[]) AS w (line, reason)
    JOIN bazar.import_rows r ON r.run_id = %(run)s AND r.line = w.line ORDER BY r.line
"""
# Of the values of a row that has ended only those are kept that an undo needs.
ERASED = "password_hash = NULL, name = NULL, plan = NULL, user_metadata = NULL, app_metadata = NULL"
_END = f"""
    UPDATE bazar.import_rows r
    SET status = e.status, code = e.code, message = e.message, claim = NULL, claimed_until = NULL, {ERASED},
        organizations = CASE e.status WHEN 'created' THEN r.organizations END,
        user_updated_at = CASE WHEN e.status IN ('created', 'updated')
                               THEN (SELECT u.updated_at FROM bazar.users u WHERE u.id = r.user_id) END
    FROM unnest(%(lines)s::bigint[], %(statuses)s::text[], %(codes)s::text[], %(messages)s::text[])
         AS e (line, status, code, message)
    WHERE r.run_id = %(run)s AND r.line = e.line AND r.status = 'open' AND r.claim IS NOT DISTINCT FROM %(claim)s
    RETURNING r.line
"""  # noqa: S608 - constants
_RELEASE = f"""
    UPDATE bazar.import_rows r SET claimed_until = clock_timestamp()
    WHERE {_MINE} AND r.claim = %(claim)s AND r.status = 'open'
"""  # noqa: S608 - constants
_UNCLAIM = f"""
    UPDATE bazar.import_rows r SET claim = NULL, claimed_until = NULL
    WHERE {_MINE} AND r.claim = %(claim)s AND r.status = 'open'
"""  # noqa: S608 - constants
_RELEASE_USERS = """
    UPDATE bazar.users SET lease_owner = NULL, lease_until = NULL
    WHERE id = ANY(%(ids)s::uuid[]) AND lease_owner = %(claim)s
"""


@dataclass(frozen=True)
class ClaimedRow:
    """A row of a run that this importer works on. Values are None where the row has none."""

    line: int
    user_id: uuid.UUID
    email: str
    name: str | None
    plan: Plan | None
    organizations: Sequence[Mapping[str, str]]
    """`id`, `slug` and `role` of each."""
    password_hash: str | None = field(repr=False)
    user_metadata: Mapping[str, object]
    app_metadata: Mapping[str, object]
    resumed: bool
    """Another importer, or an earlier run, claimed the row and did not end it."""

    @property
    def is_bare(self) -> bool:
        """Say whether the row has neither a hash nor metadata, so that Postgres has all of it."""
        return not (self.password_hash or self.user_metadata or self.app_metadata)


@dataclass(frozen=True)
class Place:
    """An organization that rows name, with the role there."""

    organization_id: uuid.UUID
    slug: str | None
    """None if the organization is gone."""
    role: Role


@dataclass(frozen=True)
class Ended:
    """The outcome of a row."""

    line: int
    status: Status
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class FoundUser:
    """The state of a user in Postgres, for a row that could not be inserted or taken up."""

    line: int
    email: str
    """The row's address."""
    is_there: bool
    """A user has the row's id."""
    has_address: bool
    """That user has the row's address."""
    pending: Pending | None
    leased: bool
    address_taken: bool
    """Another user has the row's address."""


@dataclass(frozen=True)
class Chunk:
    """Rows of a run that one importer works on. Parameters: `claim` is None inside one transaction."""

    run_id: uuid.UUID
    claim: uuid.UUID | None = None

    def values(self, lines: Collection[int], **more: object) -> dict[str, object]:
        """Return the parameters of a statement on these rows."""
        shared = {"run": self.run_id, "claim": self.claim, "seconds": LEASE_SECONDS}
        return {**shared, "lines": list(lines), **more}


def claim(
    connection: Connection, chunk: Chunk, action: Action, count: int, but: Collection[int] = ()
) -> list[ClaimedRow]:
    """Claim the next open rows that nobody works on, by line.

    Parameters: `but` are lines that this importer has given up.
    """
    values = chunk.values((), action=action.value, count=count, but=list(but))
    return sorted(fetch_all(connection, _claimed, _CLAIM, values), key=lambda row: row.line)


def lock(connection: Connection, chunk: Chunk, count: int, but: Collection[int] = ()) -> list[int]:
    """Lock the next open new users that nobody works on until the transaction ends; return their lines."""
    values = chunk.values((), action=Action.CREATE.value, count=count, but=list(but))
    return fetch_values(connection, _FREE, values)


def unclaim(connection: Connection, chunk: Chunk, lines: Collection[int]) -> None:
    """Make rows as if nobody had claimed them: of their users nothing is left in either system."""
    connection.execute(_UNCLAIM, chunk.values(lines))


def count_open(connection: Connection, run_id: uuid.UUID, but: Collection[int] = ()) -> int:
    """Count the open rows of a run. Parameters: `but` are lines that do not count."""
    query = """
        SELECT count(*) FROM bazar.import_rows
        WHERE run_id = %s AND status = 'open' AND NOT line = ANY(%s::bigint[])
    """
    return fetch_value(connection, query, (run_id, list(but)))


def assigns_plans(connection: Connection, run_id: uuid.UUID) -> bool:
    """Say whether an open row of a new user has another plan than Free."""
    query = """
        SELECT EXISTS (SELECT 1 FROM bazar.import_rows
                       WHERE run_id = %s AND status = 'open' AND action = 'create' AND plan <> 'free')
    """
    return fetch_value(connection, query, (run_id,))


def places(connection: Connection, chunk: Chunk, lines: Collection[int]) -> tuple[Place, ...]:
    """Return the organizations and roles that the rows name, by id; an organization is kept until the end."""
    named: list[tuple[uuid.UUID, str]] = connection.execute(_PLACES, chunk.values(lines)).fetchall()
    kept: dict[uuid.UUID, str] = dict(connection.execute(_KEEP, (sorted({id_ for id_, _ in named}),)).fetchall())
    return tuple(
        Place(id_, kept.get(id_), enum_value(Role, role, "import_rows.organizations")) for id_, role in sorted(named)
    )


def lines_of(connection: Connection, chunk: Chunk, lines: Collection[int], place: Place) -> list[int]:
    """Return the rows that name this organization with this role."""
    values = chunk.values(lines, organization=place.organization_id, role=place.role.value)
    return fetch_values(connection, _LINES_OF_PLACE, values)


def lines_without_organization(connection: Connection, chunk: Chunk, lines: Collection[int]) -> list[int]:
    """Return the rows that name no organization."""
    return fetch_values(connection, _NOWHERE, chunk.values(lines))


def insert(connection: Connection, chunk: Chunk, lines: Collection[int]) -> frozenset[uuid.UUID]:
    """Insert the users with `pending create` and the lease; return the ids of those that no other user prevents."""
    return frozenset(fetch_values(connection, _INSERT, chunk.values(lines)))


def join(connection: Connection, chunk: Chunk, lines: Collection[int]) -> None:
    """Insert the memberships of new users."""
    connection.execute(_JOIN, chunk.values(lines))


def record(connection: Connection, grant: Grant, chunk: Chunk, lines: Collection[int]) -> None:
    """Append the events of new users, in the transaction of `connection`."""
    connection.execute(_RECORD, chunk.values(lines, **_by(grant)))


def resume(connection: Connection, chunk: Chunk, lines: Collection[int]) -> frozenset[int]:
    """Take the lease of users whose creation an earlier importer began; return the lines of those that are free."""
    return frozenset(fetch_values(connection, _RESUME, chunk.values(lines)))


def look_up(connection: Connection, chunk: Chunk, lines: Collection[int]) -> list[FoundUser]:
    """Return what Postgres has about these rows."""
    return fetch_all(connection, _found, _THERE, chunk.values(lines))


def renew(connection: Connection, chunk: Chunk, rows: Collection[ClaimedRow]) -> frozenset[int]:
    """Renew the leases; return the lines of the rows that this importer still holds."""
    return frozenset(fetch_values(connection, _RENEW, _of_rows(chunk, rows)))


def settle(connection: Connection, chunk: Chunk, rows: Collection[ClaimedRow]) -> frozenset[uuid.UUID]:
    """Clear `pending`; return the ids of the users that this importer still held."""
    return frozenset(fetch_values(connection, _SETTLE, _of_rows(chunk, rows)))


def take_back(
    connection: Connection, grant: Grant, chunk: Chunk, refused: Sequence[tuple[ClaimedRow, str]]
) -> frozenset[uuid.UUID]:
    """Delete users that Supabase refused, with an event each; return the ids of those that this importer still held.

    Parameters: `refused` has the reason of each.
    """
    deleted = frozenset[uuid.UUID](fetch_values(connection, _TAKE_BACK, _of_rows(chunk, [row for row, _ in refused])))
    undone = [(row.line, why) for row, why in refused if row.user_id in deleted]
    if undone:
        lines, reasons = zip(*undone, strict=True)
        connection.execute(_RECORD_UNDONE, chunk.values(lines, reasons=list(reasons), **_by(grant)))
    return deleted


def end(connection: Connection, chunk: Chunk, ended: Sequence[Ended]) -> int:
    """Write the outcomes of rows, and erase their hashes; return of how many rows this importer still held."""
    if not ended:
        return 0
    values = chunk.values(
        [e.line for e in ended],
        statuses=[e.status.value for e in ended],
        codes=[e.code for e in ended],
        messages=[e.message for e in ended],
    )
    return connection.execute(_END, values).rowcount


def release(connection: Connection, chunk: Chunk, rows: Collection[ClaimedRow]) -> None:
    """Let others have these rows at once; `pending` stays.

    It waits for rows only for a second: leases run out by themselves.
    """
    connection.execute("SET LOCAL lock_timeout = '1s'")
    connection.execute(_RELEASE_USERS, _of_rows(chunk, rows))
    connection.execute(_RELEASE, _of_rows(chunk, rows))


def _of_rows(chunk: Chunk, rows: Collection[ClaimedRow]) -> dict[str, object]:
    return chunk.values([row.line for row in rows], ids=[row.user_id for row in rows])


def _by(grant: Grant) -> dict[str, object]:
    return {
        "operator_id": grant.operator.id,
        "operator_email": grant.operator.email,
        "use_case": grant.spec.name,
        "request_id": grant.request_id,
    }


def _claimed(
    *,
    plan: str | None,
    organizations: Sequence[Mapping[str, str]] | None,
    user_metadata: Mapping[str, object] | None,
    app_metadata: Mapping[str, object] | None,
    **columns: Any,
) -> ClaimedRow:
    return ClaimedRow(
        plan=None if plan is None else enum_value(Plan, plan, "import_rows.plan"),
        organizations=organizations or (),
        user_metadata=user_metadata or {},
        app_metadata=app_metadata or {},
        **columns,
    )


def _found(*, pending: str | None, has_address: bool | None, **columns: Any) -> FoundUser:
    return FoundUser(
        pending=None if pending is None else enum_value(Pending, pending, "users.pending"),
        has_address=bool(has_address),
        **columns,
    )
