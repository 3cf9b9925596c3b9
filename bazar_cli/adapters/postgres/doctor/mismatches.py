"""Queries of `doctor` that compare both systems: pending users, and users with their identities.

Identities come from `auth.users` where SQL may read it, else from the caller, which read them through the Auth API.
Both ways use the same text of the conditions, so they find the same.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from bazar_cli.adapters.postgres.rows import enum_value, fetch_all, fetch_batches
from bazar_cli.domain.doctor import SHOWN_ROWS, Affected, Found, Mismatch, PendingUser
from bazar_cli.domain.entities import Pending

if TYPE_CHECKING:
    from datetime import datetime

    from typing_extensions import LiteralString

    from bazar_cli.adapters.postgres.connections import Connection
    from bazar_cli.domain.users.identities import StoredIdentity

_BATCH = 10_000
# An open import finishes its users with what its file has for them, which no other command knows.
_PENDING = """
    SELECT id, email, pending, coalesce(lease_until > clock_timestamp(), false) AS leased,
           origin = 'adopted' AS adopted
    FROM bazar.users u WHERE pending IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM bazar.import_runs i JOIN bazar.import_rows r ON r.run_id = i.id AND r.status = 'open'
        WHERE i.finished_at IS NULL AND r.user_id = u.id AND u.pending = 'create')
    ORDER BY created_at, id
"""
_IN_DATABASE = """(
    SELECT id, lower(coalesce(email, '')) AS email, banned_until,
           lower(raw_app_meta_data -> 'bazar' ->> 'deployment') AS deployment
    FROM auth.users WHERE deleted_at IS NULL)"""
_GIVEN = """(
    SELECT * FROM unnest(%(ids)s::uuid[], %(emails)s::text[], %(bans)s::timestamptz[],
                         %(deployments)s::text[]) AS given (id, email, banned_until, deployment))"""
# A ban in the past does not count. Both ways ask the database's clock.
_BANNED = "coalesce(a.banned_until > statement_timestamp(), false)"
# A pending change is no mismatch: its command makes both equal. A user who is being created or deleted may have any
# identity, or none: a stranger may hold the id.
_UNSETTLED: dict[Mismatch, LiteralString] = {
    Mismatch.USERS_WITHOUT_IDENTITY: "'create', 'delete', 'invite'",
    Mismatch.EMAILS_DIFFER: "'create', 'delete', 'invite', 'email'",
    Mismatch.BANNED_NOT_SUSPENDED: "'create', 'delete', 'invite', 'suspend', 'restore'",
    Mismatch.SUSPENDED_NOT_BANNED: "'create', 'delete', 'invite', 'suspend', 'restore'",
}
_SETTLED: dict[Mismatch, LiteralString] = {
    kind: f"(u.pending IS NULL OR u.pending NOT IN ({pending}))" for kind, pending in _UNSETTLED.items()
}
# `a` is an identity that was not deleted, `u` the user with its id.
_PAIRS: dict[Mismatch, LiteralString] = {
    Mismatch.IDENTITIES_WITHOUT_USER: "u.id IS NULL AND a.deployment = %(deployment)s",
    Mismatch.EMAILS_DIFFER: f"u.email <> a.email AND {_SETTLED[Mismatch.EMAILS_DIFFER]}",
    Mismatch.BANNED_NOT_SUSPENDED: (f"u.state = 'active' AND {_BANNED} AND {_SETTLED[Mismatch.BANNED_NOT_SUSPENDED]}"),
    Mismatch.SUSPENDED_NOT_BANNED: (
        f"u.state = 'suspended' AND NOT {_BANNED} AND {_SETTLED[Mismatch.SUSPENDED_NOT_BANNED]}"
    ),
}
_COLUMNS = """a.id, coalesce(u.email, a.email) AS email, a.email AS identity_email, u.xmin::text AS version,
    to_char(a.banned_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS banned_until"""
_ORDER = "u.created_at, a.email, a.id"
_BY_SQL: dict[Mismatch, LiteralString] = {
    kind: f"SELECT {_COLUMNS}, count(*) OVER () AS total"  # noqa: S608 - constants
    f" FROM {_IN_DATABASE} a LEFT JOIN bazar.users u ON u.id = a.id WHERE {condition}"
    f" ORDER BY {_ORDER} LIMIT %(shown)s"
    for kind, condition in _PAIRS.items()
}
_WITHOUT_IDENTITY = f"""
    SELECT u.id, u.email, count(*) OVER () AS total FROM bazar.users u
    WHERE {_SETTLED[Mismatch.USERS_WITHOUT_IDENTITY]}
      AND NOT EXISTS (SELECT 1 FROM auth.users a WHERE a.id = u.id AND a.deleted_at IS NULL)
    ORDER BY u.created_at, u.id LIMIT %(shown)s
"""  # noqa: S608 - constants
_AMONG_GIVEN = f"""
    SELECT * FROM (
        SELECT {_COLUMNS}, u.created_at, ARRAY[{", ".join(_PAIRS.values())}] AS matches
        FROM {_GIVEN} a LEFT JOIN bazar.users u ON u.id = a.id
    ) AS compared WHERE true = ANY (matches) ORDER BY created_at, identity_email, id
"""  # noqa: S608 - constants
_EVERY = f"""
    SELECT u.id FROM bazar.users u WHERE {_SETTLED[Mismatch.USERS_WITHOUT_IDENTITY]} ORDER BY u.created_at, u.id
"""  # noqa: S608 - constants
_STILL = f"""
    SELECT u.id, u.email, u.xmin::text AS version FROM bazar.users u
    WHERE {_SETTLED[Mismatch.USERS_WITHOUT_IDENTITY]} AND u.id = ANY(%(ids)s::uuid[]) ORDER BY u.created_at, u.id
"""  # noqa: S608 - constants
_VERSIONS = "SELECT id, xmin::text AS version FROM bazar.users WHERE id = ANY(%(ids)s::uuid[])"


@dataclass(frozen=True)
class Suspect:
    """A mismatch between a user and an identity that was read before or after it."""

    kind: Mismatch
    affected: Affected
    id: uuid.UUID
    version: str | None
    """Changes with every change of the user's row; None where there is no row."""


class _Row(NamedTuple):
    id: uuid.UUID
    email: str
    identity_email: str
    version: str | None
    banned_until: str | None
    total: int = 0
    created_at: datetime | None = None
    matches: Sequence[bool | None] = ()
    """Whether each of `_PAIRS` holds."""


def pending_users(connection: Connection) -> tuple[PendingUser, ...]:
    """Return every user in the middle of a change, the oldest first, but not the new users of an open import."""
    return tuple(
        PendingUser(id_, email, enum_value(Pending, pending, "users.pending"), leased, adopted)
        for id_, email, pending, leased, adopted in connection.execute(_PENDING).fetchall()
    )


def found(connection: Connection, kind: Mismatch, deployment: uuid.UUID) -> Found:
    """Return what disagrees with `auth.users` of this database; one statement sees one moment of both."""
    if kind is Mismatch.USERS_WITHOUT_IDENTITY:
        users = connection.execute(_WITHOUT_IDENTITY, {"shown": SHOWN_ROWS}).fetchall()
        return Found(users[0][2] if users else 0, tuple(Affected(id_, email) for id_, email, _ in users))
    rows = fetch_all(connection, _Row, _BY_SQL[kind], {"shown": SHOWN_ROWS, "deployment": str(deployment)})
    return Found(rows[0].total if rows else 0, tuple(_affected(kind, row) for row in rows))


def suspects(connection: Connection, identities: Sequence[StoredIdentity], deployment: uuid.UUID) -> list[Suspect]:
    """Return where these identities, as they were read elsewhere, and the users disagree now."""
    values = {
        "ids": [i.id for i in identities],
        "emails": [i.email for i in identities],
        "bans": [i.banned_until for i in identities],
        "deployments": [str(i.deployment) if i.deployment else None for i in identities],
        "deployment": str(deployment),
    }
    return [
        Suspect(kind, _affected(kind, row), row.id, row.version)
        for row in fetch_all(connection, _Row, _AMONG_GIVEN, values)
        for kind, matches in zip(_PAIRS, row.matches, strict=True)
        if matches
    ]


def every_settled(connection: Connection) -> Iterator[uuid.UUID]:
    """Yield the id of every user who must have an identity, a batch in memory at a time."""
    for batch in fetch_batches(connection, dict[str, uuid.UUID], _EVERY, batch=_BATCH):
        yield from (row["id"] for row in batch)


def still_settled(connection: Connection, ids: Sequence[uuid.UUID]) -> list[Suspect]:
    """Return those of these users, without an identity, who are there and must have one."""
    kind = Mismatch.USERS_WITHOUT_IDENTITY
    rows = connection.execute(_STILL, {"ids": list(ids)}).fetchall()
    return [Suspect(kind, Affected(id_, email), id_, version) for id_, email, version in rows]


def versions(connection: Connection, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return a fingerprint of these users' rows. It changes if a row changes."""
    return dict(connection.execute(_VERSIONS, {"ids": list(ids)}).fetchall())


def _affected(kind: Mismatch, row: _Row) -> Affected:
    notes = {
        Mismatch.EMAILS_DIFFER: f"at Supabase {row.identity_email or 'without an address'}",
        Mismatch.BANNED_NOT_SUSPENDED: f"banned until {row.banned_until or 'further notice'}",
    }
    return Affected(row.id, row.email, notes.get(kind, ""))
