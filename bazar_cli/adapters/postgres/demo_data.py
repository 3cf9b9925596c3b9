"""Queries of `db seed` beyond those of declared state: untouched users, and ids that are taken."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import TYPE_CHECKING

from bazar_cli.adapters.postgres.rows import fetch_values

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


def untouched(connection: Connection, ids: Collection[uuid.UUID]) -> frozenset[uuid.UUID]:
    """Return those of these users whom `db seed` created, and whom nothing else has changed since."""
    return frozenset(fetch_values(connection, _UNTOUCHED, {"ids": list(ids)}))


def taken_ids(connection: Connection, ids: Collection[uuid.UUID]) -> frozenset[uuid.UUID]:
    """Return those of these ids that users have."""
    return frozenset(fetch_values(connection, _TAKEN, {"ids": list(ids)}))
