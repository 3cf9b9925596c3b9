"""What `db seed` looks up in Postgres before it writes: whom it wants and who is there, and which ids are taken."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

from bazar_cli.adapters.postgres.rows import word
from bazar_cli.domain.entities import Pending, Plan, Role, UserState
from bazar_cli.domain.users.identities import StoredIdentity

# Seeded: every event of theirs is of a run of `db seed`, and their creation is among them. A run's own event is the
# first that it writes, so that one that was killed is known by it too. A denial did nothing to anybody.
_USERS = text(
    """
    WITH runs AS MATERIALIZED (
        SELECT DISTINCT request_id FROM bazar.audit_events WHERE use_case = 'db.seed' AND outcome = 'done')
    SELECT u.id, u.email, u.name, u.plan, u.state, u.pending, u.origin = 'adopted' AS adopted,
           coalesce((SELECT jsonb_object_agg(o.slug, m.role)
                     FROM bazar.memberships m JOIN bazar.organizations o ON o.id = m.organization_id
                     WHERE m.user_id = u.id), '{}'::jsonb) AS roles,
           coalesce((SELECT bool_and(e.request_id IN (SELECT request_id FROM runs)) AND bool_or(e.use_case = :create)
                     FROM bazar.audit_events e WHERE e.target_id = u.id::text AND e.outcome <> 'denied'), false)
               AS untouched
    FROM bazar.users u WHERE lower(u.email) = ANY(CAST(:emails AS text[]))
    """
)
_TAKEN = text("SELECT id FROM bazar.users WHERE id = ANY(CAST(:ids AS uuid[]))")
_ORGANIZATIONS = text("SELECT slug, name FROM bazar.organizations WHERE slug = ANY(CAST(:slugs AS text[]))")
_IDENTITIES = text(
    """
    SELECT id, lower(coalesce(email, '')) AS email, lower(raw_app_meta_data -> 'bazar' ->> 'deployment') AS deployment,
           last_sign_in_at IS NOT NULL AS has_signed_in, banned_until, deleted_at IS NOT NULL AS is_deleted
    FROM auth.users WHERE email = ANY(CAST(:emails AS text[])) OR id = ANY(CAST(:ids AS uuid[]))
    """
)


@dataclass(frozen=True)
class StoredUser:
    """A user who is there, as far as `db seed` compares."""

    id: uuid.UUID
    name: str | None
    plan: Plan
    state: UserState
    pending: Pending | None
    adopted: bool
    roles: Mapping[str, Role]
    """By the slug of the organization."""
    untouched: bool
    """Made by `db seed`, and changed by nothing else since."""


def users(connection: Connection, emails: Collection[str]) -> dict[str, StoredUser]:
    """Return who of these is there, by address."""
    rows = connection.execute(_USERS, {"emails": sorted(emails), "create": "users.create"})
    return {row.email: _user(row) for row in rows}


def taken_ids(connection: Connection, ids: Collection[uuid.UUID]) -> frozenset[uuid.UUID]:
    """Return which of these ids users have."""
    return frozenset(connection.execute(_TAKEN, {"ids": [str(i) for i in ids]}).scalars())


def organizations(connection: Connection, slugs: Collection[str]) -> dict[str, str]:
    """Return the names of the organizations that are there, by slug."""
    return {row.slug: row.name for row in connection.execute(_ORGANIZATIONS, {"slugs": sorted(slugs)})}


def identities(connection: Connection, emails: Collection[str], ids: Collection[uuid.UUID]) -> list[StoredIdentity]:
    """Return the identities with one of these addresses or ids; for callers to whom `identities.readable` said yes."""
    rows = connection.execute(_IDENTITIES, {"emails": sorted(emails), "ids": [str(i) for i in ids]})
    return [_identity(row) for row in rows]


def _user(row: Row[Any]) -> StoredUser:
    return StoredUser(
        id=row.id,
        name=row.name,
        plan=word(Plan, row.plan, "users.plan"),
        state=word(UserState, row.state, "users.state"),
        pending=word(Pending, row.pending, "users.pending") if row.pending else None,
        adopted=row.adopted,
        roles={slug: word(Role, role, "memberships.role") for slug, role in row.roles.items()},
        untouched=row.untouched,
    )


def _identity(row: Row[Any]) -> StoredIdentity:
    return StoredIdentity(
        id=row.id,
        email=row.email,
        deployment=_uuid(row.deployment),
        has_signed_in=row.has_signed_in,
        banned_until=row.banned_until,
        is_deleted=row.is_deleted,
    )


def _uuid(written: str | None) -> uuid.UUID | None:
    """The deployment of a stamp, in the one form that Bazar writes: whoever may write identities may put any there."""
    try:
        found = uuid.UUID(written or "")
    except ValueError:
        return None
    return found if str(found) == written else None
