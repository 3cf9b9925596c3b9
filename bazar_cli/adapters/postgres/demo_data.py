"""Queries of `db seed` beyond those of declared state: untouched users, ids that are taken, identities."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from bazar_cli.adapters.postgres.rows import fetch_all, fetch_values
from bazar_cli.domain.users.identities import StoredIdentity

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.connections import Connection

# A user is seeded if all events about them, their creation included, belong to runs of `db seed`. A run writes its own
# event first, so a run that was killed is found too. Denials do not count: they changed nothing.
_UNTOUCHED = """
    WITH runs AS MATERIALIZED (
        SELECT DISTINCT request_id FROM bazar.audit_events WHERE use_case = 'db.seed' AND outcome = 'done')
    SELECT u.id FROM bazar.users u WHERE u.id = ANY(%(ids)s::uuid[]) AND (
        SELECT bool_and(e.request_id IN (SELECT request_id FROM runs)) AND bool_or(e.use_case = 'users.create')
        FROM bazar.audit_events e WHERE e.target_id = u.id::text AND e.outcome <> 'denied')
"""
_TAKEN = "SELECT id FROM bazar.users WHERE id = ANY(%(ids)s::uuid[])"
_IDENTITIES = """
    SELECT id, lower(coalesce(email, '')) AS email, lower(raw_app_meta_data -> 'bazar' ->> 'deployment') AS deployment,
           last_sign_in_at IS NOT NULL AS has_signed_in, banned_until, deleted_at IS NOT NULL AS is_deleted
    FROM auth.users WHERE email = ANY(%(emails)s::text[]) OR id = ANY(%(ids)s::uuid[])
"""


def untouched(connection: Connection, ids: Collection[uuid.UUID]) -> frozenset[uuid.UUID]:
    """Return those of these users whom `db seed` created, and whom nothing else has changed since."""
    return frozenset(fetch_values(connection, _UNTOUCHED, {"ids": list(ids)}))


def taken_ids(connection: Connection, ids: Collection[uuid.UUID]) -> frozenset[uuid.UUID]:
    """Return those of these ids that users have."""
    return frozenset(fetch_values(connection, _TAKEN, {"ids": list(ids)}))


def identities(connection: Connection, emails: Collection[str], ids: Collection[uuid.UUID]) -> list[StoredIdentity]:
    """Return the identities with one of these addresses or ids; for callers to whom `identities.readable` said yes."""
    return fetch_all(connection, _identity, _IDENTITIES, {"emails": sorted(emails), "ids": list(ids)})


def _identity(*, deployment: str | None, **columns: Any) -> StoredIdentity:
    return StoredIdentity(deployment=_uuid(deployment), **columns)


def _uuid(written: str | None) -> uuid.UUID | None:
    """The deployment of a stamp, in the one form that bazar writes; others can write any text there."""
    try:
        found = uuid.UUID(written or "")
    except ValueError:
        return None
    return found if str(found) == written else None
