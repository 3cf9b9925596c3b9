"""Queries that `db seed` runs before it writes: the wanted users that exist, and the ids that are taken."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bazar_cli.adapters.postgres.rows import enum_value, fetch_all, fetch_values
from bazar_cli.domain.entities import Pending, Plan, Role, UserState
from bazar_cli.domain.users.identities import StoredIdentity

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.connections import Connection

# A user is seeded if all events about them, their creation included, belong to runs of `db seed`. A run writes its own
# event first, so a run that was killed is found too. Denials do not count: they changed nothing.
_USERS = """
    WITH runs AS MATERIALIZED (
        SELECT DISTINCT request_id FROM bazar.audit_events WHERE use_case = 'db.seed' AND outcome = 'done')
    SELECT u.id, u.email, u.name, u.plan, u.state, u.pending, u.origin = 'adopted' AS adopted,
           coalesce((SELECT jsonb_object_agg(o.slug, m.role)
                     FROM bazar.memberships m JOIN bazar.organizations o ON o.id = m.organization_id
                     WHERE m.user_id = u.id), '{}'::jsonb) AS roles,
           coalesce((SELECT bool_and(e.request_id IN (SELECT request_id FROM runs))
                            AND bool_or(e.use_case = 'users.create')
                     FROM bazar.audit_events e WHERE e.target_id = u.id::text AND e.outcome <> 'denied'), false)
               AS untouched
    FROM bazar.users u WHERE lower(u.email) = ANY(%(emails)s::text[])
"""
_TAKEN = "SELECT id FROM bazar.users WHERE id = ANY(%(ids)s::uuid[])"
_ORGANIZATIONS = "SELECT slug, name FROM bazar.organizations WHERE slug = ANY(%(slugs)s::text[])"
_IDENTITIES = """
    SELECT id, lower(coalesce(email, '')) AS email, lower(raw_app_meta_data -> 'bazar' ->> 'deployment') AS deployment,
           last_sign_in_at IS NOT NULL AS has_signed_in, banned_until, deleted_at IS NOT NULL AS is_deleted
    FROM auth.users WHERE email = ANY(%(emails)s::text[]) OR id = ANY(%(ids)s::uuid[])
"""


@dataclass(frozen=True)
class StoredUser:
    """An existing user, as far as `db seed` compares."""

    id: uuid.UUID
    email: str
    name: str | None
    plan: Plan
    state: UserState
    pending: Pending | None
    adopted: bool
    roles: Mapping[str, Role]
    """Roles by the slug of the organization."""
    untouched: bool
    """Created by `db seed`, and changed by nothing else since."""


def users(connection: Connection, emails: Collection[str]) -> dict[str, StoredUser]:
    """Return the existing ones of these users, by address."""
    found = fetch_all(connection, _user, _USERS, {"emails": sorted(emails)})
    return {user.email: user for user in found}


def taken_ids(connection: Connection, ids: Collection[uuid.UUID]) -> frozenset[uuid.UUID]:
    """Return those of these ids that users have."""
    return frozenset(fetch_values(connection, _TAKEN, {"ids": list(ids)}))


def organizations(connection: Connection, slugs: Collection[str]) -> dict[str, str]:
    """Return the names of the existing ones of these organizations, by slug."""
    return dict(connection.execute(_ORGANIZATIONS, {"slugs": sorted(slugs)}).fetchall())


def identities(connection: Connection, emails: Collection[str], ids: Collection[uuid.UUID]) -> list[StoredIdentity]:
    """Return the identities with one of these addresses or ids; for callers to whom `identities.readable` said yes."""
    return fetch_all(connection, _identity, _IDENTITIES, {"emails": sorted(emails), "ids": list(ids)})


def _user(*, plan: str, state: str, pending: str | None, roles: dict[str, str], **columns: Any) -> StoredUser:
    return StoredUser(
        plan=enum_value(Plan, plan, "users.plan"),
        state=enum_value(UserState, state, "users.state"),
        pending=enum_value(Pending, pending, "users.pending") if pending else None,
        roles={slug: enum_value(Role, role, "memberships.role") for slug, role in roles.items()},
        **columns,
    )


def _identity(*, deployment: str | None, **columns: Any) -> StoredIdentity:
    return StoredIdentity(deployment=_uuid(deployment), **columns)


def _uuid(written: str | None) -> uuid.UUID | None:
    """The deployment of a stamp, in the one form that bazar writes; others can write any text there."""
    try:
        found = uuid.UUID(written or "")
    except ValueError:
        return None
    return found if str(found) == written else None
