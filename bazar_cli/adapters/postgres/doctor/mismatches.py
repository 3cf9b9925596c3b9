"""What `doctor` reads to compare both systems: pending users, and users beside identities.

Identities come from `auth.users` where SQL may see them, else from the caller, who read them through the Auth API.
The conditions are the same text for both, so that both ways find the same.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, text

from bazar_cli.adapters.postgres.rows import word
from bazar_cli.domain.doctor import SHOWN_ROWS, Affected, Found, Mismatch, PendingUser
from bazar_cli.domain.entities import Pending

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.domain.users.identities import StoredIdentity

_BATCH = 10_000
_PENDING = text(
    """
    SELECT id, email, pending, coalesce(lease_until > clock_timestamp(), false) AS leased,
           origin = 'adopted' AS adopted
    FROM bazar.users WHERE pending IS NOT NULL ORDER BY created_at, id
    """
)
_IN_DATABASE = """(
    SELECT id, lower(coalesce(email, '')) AS email, banned_until,
           lower(raw_app_meta_data -> 'bazar' ->> 'deployment') AS deployment
    FROM auth.users WHERE deleted_at IS NULL)"""
_GIVEN = """(
    SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:emails AS text[]), CAST(:bans AS timestamptz[]),
                         CAST(:deployments AS text[])) AS given (id, email, banned_until, deployment))"""
# A ban in the past is none. By the database's clock in both ways.
_BANNED = "coalesce(a.banned_until > statement_timestamp(), false)"
# What another command is about to make equal is no mismatch. Whose creation or deletion is pending may have any
# identity or none: a stranger may hold the id.
_UNSETTLED = {
    Mismatch.USERS_WITHOUT_IDENTITY: "'create', 'delete', 'invite'",
    Mismatch.EMAILS_DIFFER: "'create', 'delete', 'invite', 'email'",
    Mismatch.BANNED_NOT_SUSPENDED: "'create', 'delete', 'invite', 'suspend', 'restore'",
    Mismatch.SUSPENDED_NOT_BANNED: "'create', 'delete', 'invite', 'suspend', 'restore'",
}
_SETTLED = {kind: f"(u.pending IS NULL OR u.pending NOT IN ({pending}))" for kind, pending in _UNSETTLED.items()}
# `a` is an identity that was not deleted, `u` the user with its id.
_PAIRS = {
    Mismatch.IDENTITIES_WITHOUT_USER: "u.id IS NULL AND a.deployment = :deployment",
    Mismatch.EMAILS_DIFFER: f"u.email <> a.email AND {_SETTLED[Mismatch.EMAILS_DIFFER]}",
    Mismatch.BANNED_NOT_SUSPENDED: (f"u.state = 'active' AND {_BANNED} AND {_SETTLED[Mismatch.BANNED_NOT_SUSPENDED]}"),
    Mismatch.SUSPENDED_NOT_BANNED: (
        f"u.state = 'suspended' AND NOT {_BANNED} AND {_SETTLED[Mismatch.SUSPENDED_NOT_BANNED]}"
    ),
}
_COLUMNS = """a.id, coalesce(u.email, a.email) AS email, a.email AS identity_email, u.xmin::text AS version,
    to_char(a.banned_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS banned_until"""
_ORDER = "u.created_at, a.email, a.id"
_BY_SQL = {
    kind: text(
        f"SELECT {_COLUMNS}, count(*) OVER () AS total"  # noqa: S608 - constants
        f" FROM {_IN_DATABASE} a LEFT JOIN bazar.users u ON u.id = a.id WHERE {condition}"
        f" ORDER BY {_ORDER} LIMIT :shown"
    )
    for kind, condition in _PAIRS.items()
}
_WITHOUT_IDENTITY = text(
    f"""
    SELECT u.id, u.email, count(*) OVER () AS total FROM bazar.users u
    WHERE {_SETTLED[Mismatch.USERS_WITHOUT_IDENTITY]}
      AND NOT EXISTS (SELECT 1 FROM auth.users a WHERE a.id = u.id AND a.deleted_at IS NULL)
    ORDER BY u.created_at, u.id LIMIT :shown
    """  # noqa: S608 - constants
)
_KINDS = ", ".join(f"CASE WHEN {condition} THEN '{kind}' END" for kind, condition in _PAIRS.items())
_AMONG_GIVEN = text(
    f"""
    SELECT * FROM (
        SELECT {_COLUMNS}, u.created_at,
               array_remove(ARRAY[{_KINDS}], NULL) AS kinds
        FROM {_GIVEN} a LEFT JOIN bazar.users u ON u.id = a.id
    ) AS compared WHERE kinds <> '{{}}' ORDER BY created_at, identity_email, id
    """  # noqa: S608 - constants
)
_EVERY = text(
    f"SELECT u.id FROM bazar.users u WHERE {_SETTLED[Mismatch.USERS_WITHOUT_IDENTITY]}"  # noqa: S608 - constants
    " ORDER BY u.created_at, u.id"
)
_STILL = text(
    "SELECT u.id, u.email, u.xmin::text AS version FROM bazar.users u"  # noqa: S608 - constants
    f" WHERE {_SETTLED[Mismatch.USERS_WITHOUT_IDENTITY]}"
    " AND u.id = ANY(CAST(:ids AS uuid[])) ORDER BY u.created_at, u.id"
)
_VERSIONS = text("SELECT id, xmin::text AS version FROM bazar.users WHERE id = ANY(CAST(:ids AS uuid[]))")


@dataclass(frozen=True)
class Suspect:
    """A mismatch between a user and an identity that was read before or after it."""

    kind: Mismatch
    affected: Affected
    id: uuid.UUID
    version: str | None
    """Changes with every change of the user's row; None where there is no row."""


def pending_users(connection: Connection) -> tuple[PendingUser, ...]:
    """Return every user in the middle of a change, the oldest first."""
    rows = connection.execute(_PENDING).all()
    return tuple(
        PendingUser(row.id, row.email, word(Pending, row.pending, "users.pending"), row.leased, row.adopted)
        for row in rows
    )


def found(connection: Connection, kind: Mismatch, deployment: uuid.UUID) -> Found:
    """Return what disagrees with `auth.users` of this database; one statement sees one moment of both."""
    if kind is Mismatch.USERS_WITHOUT_IDENTITY:
        rows = connection.execute(_WITHOUT_IDENTITY, {"shown": SHOWN_ROWS}).all()
        return Found(_total(rows), tuple(Affected(row.id, row.email) for row in rows))
    values: dict[str, object] = {"shown": SHOWN_ROWS}
    if kind is Mismatch.IDENTITIES_WITHOUT_USER:
        values["deployment"] = str(deployment)
    rows = connection.execute(_BY_SQL[kind], values).all()
    return Found(_total(rows), tuple(_affected(kind, row) for row in rows))


def suspects(connection: Connection, identities: Sequence[StoredIdentity], deployment: uuid.UUID) -> list[Suspect]:
    """Return where these identities, as they were read elsewhere, and the users disagree now."""
    values = {
        "ids": [str(i.id) for i in identities],
        "emails": [i.email for i in identities],
        "bans": [i.banned_until for i in identities],
        "deployments": [str(i.deployment) if i.deployment else None for i in identities],
        "deployment": str(deployment),
    }
    return [
        Suspect(Mismatch(kind), _affected(Mismatch(kind), row), row.id, row.version)
        for row in connection.execute(_AMONG_GIVEN, values)
        for kind in row.kinds
    ]


def every_settled(connection: Connection) -> Iterator[uuid.UUID]:
    """Yield the id of every user who must have an identity, a batch in memory at a time."""
    for row in connection.execute(_EVERY.execution_options(yield_per=_BATCH)):
        yield row.id


def still_settled(connection: Connection, ids: Sequence[uuid.UUID]) -> list[Suspect]:
    """Return those of these users, without an identity, who are there and must have one."""
    kind = Mismatch.USERS_WITHOUT_IDENTITY
    rows = connection.execute(_STILL, {"ids": [str(i) for i in ids]}).all()
    return [Suspect(kind, Affected(row.id, row.email), row.id, row.version) for row in rows]


def versions(connection: Connection, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return what tells whether the rows of these users have changed when it is asked for again."""
    return {row.id: row.version for row in connection.execute(_VERSIONS, {"ids": [str(i) for i in ids]})}


def _affected(kind: Mismatch, row: Row[Any]) -> Affected:
    notes = {
        Mismatch.EMAILS_DIFFER: f"at Supabase {row.identity_email or 'without an address'}",
        Mismatch.BANNED_NOT_SUSPENDED: f"banned until {row.banned_until or 'further notice'}",
    }
    return Affected(row.id, row.email, notes.get(kind, ""))


def _total(rows: Sequence[Row[Any]]) -> int:
    return int(rows[0].total) if rows else 0
