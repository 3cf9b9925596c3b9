"""What `doctor` reads to compare both systems: pending users, and identities where SQL may see them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, text

from bazar_cli.domain.access import Pending
from bazar_cli.domain.doctor import SHOWN_ROWS, Affected, Found, PendingUser

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection

_BATCH = 10_000
_PENDING = text(
    """
    SELECT id, email, pending, coalesce(lease_until > clock_timestamp(), false) AS leased,
           origin = 'adopted' AS adopted
    FROM bazar.users WHERE pending IS NOT NULL ORDER BY created_at, id
    """
)
# Who is being created, deleted or invited may have no identity.
_SETTLED = "(u.pending IS NULL OR u.pending NOT IN ('create', 'delete', 'invite'))"
_WITHOUT_IDENTITY = text(
    f"""
    SELECT u.id, u.email, count(*) OVER () AS total FROM bazar.users u
    WHERE {_SETTLED} AND NOT EXISTS (SELECT 1 FROM auth.users a WHERE a.id = u.id AND a.deleted_at IS NULL)
    ORDER BY u.created_at, u.id LIMIT :shown
    """  # noqa: S608 - constants
)
_WITHOUT_USER = text(
    """
    SELECT a.id, a.email, count(*) OVER () AS total FROM auth.users a
    WHERE lower(a.raw_app_meta_data -> 'bazar' ->> 'deployment') = :deployment AND a.deleted_at IS NULL
      AND NOT EXISTS (SELECT 1 FROM bazar.users u WHERE u.id = a.id)
    ORDER BY a.created_at, a.id LIMIT :shown
    """
)
_EVERY = text(f"SELECT u.id, u.email FROM bazar.users u WHERE {_SETTLED}")  # noqa: S608 - constants
_STILL = text(
    f"SELECT u.id, u.email FROM bazar.users u WHERE {_SETTLED}"  # noqa: S608 - constants
    " AND u.id = ANY(CAST(:ids AS uuid[])) ORDER BY u.created_at, u.id"
)
_KNOWN = text("SELECT id FROM bazar.users WHERE id = ANY(CAST(:ids AS uuid[]))")


def pending_users(connection: Connection) -> tuple[PendingUser, ...]:
    """Return every user in the middle of a change, the oldest first."""
    rows = connection.execute(_PENDING).all()
    return tuple(PendingUser(row.id, row.email, Pending(row.pending), row.leased, row.adopted) for row in rows)


def users_without_identity(connection: Connection) -> Found:
    """Return the settled users that `auth.users` does not have; one statement sees one moment of both."""
    return _found(connection.execute(_WITHOUT_IDENTITY, {"shown": SHOWN_ROWS}).all())


def identities_without_user(connection: Connection, deployment: uuid.UUID) -> Found:
    """Return the identities that bear this deployment's stamp and have no row."""
    values = {"deployment": str(deployment), "shown": SHOWN_ROWS}
    return _found(connection.execute(_WITHOUT_USER, values).all())


def every_user(connection: Connection) -> Iterator[Affected]:
    """Yield every settled user, a batch of rows in memory at a time."""
    for row in connection.execute(_EVERY.execution_options(yield_per=_BATCH)):
        yield Affected(row.id, row.email)


def still_settled(connection: Connection, ids: list[uuid.UUID]) -> tuple[Affected, ...]:
    """Return those of these users that are still there and in the middle of no creation, deletion or invitation."""
    rows = connection.execute(_STILL, {"ids": [str(i) for i in ids]}).all()
    return tuple(Affected(row.id, row.email) for row in rows)


def known(connection: Connection, ids: list[uuid.UUID]) -> frozenset[uuid.UUID]:
    """Return those of these ids that have a row."""
    return frozenset(connection.execute(_KNOWN, {"ids": [str(i) for i in ids]}).scalars())


def _found(rows: Sequence[Row[Any]]) -> Found:
    return Found(rows[0].total if rows else 0, tuple(Affected(row.id, row.email or "") for row in rows))
