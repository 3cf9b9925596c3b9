"""Queries that compare a declared state with Postgres, with the operator's reach applied in SQL.

`content` is every column of a row as text, in a form that does not depend on the settings of a session.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bazar_cli.adapters.postgres.rows import enum_value, fetch_all, fetch_values
from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Reach
from bazar_cli.domain.entities import BEING_CREATED_OR_DELETED, Pending, Plan, Role, UserState

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.connections import Connection

_USERS = """
    SELECT u.id, u.email, u.name, u.plan, u.state, u.pending, u.origin = 'adopted' AS adopted, u.updated_at,
           jsonb_build_array(u.id, u.email, u.name, u.plan, u.state, u.pending, u.lease_owner, u.origin,
                                 u.is_superuser, extract(epoch FROM u.lease_until), extract(epoch FROM u.created_at),
                                 extract(epoch FROM u.updated_at))::text AS content,
           (SELECT jsonb_object_agg(o.slug, m.role)
            FROM bazar.memberships m JOIN bazar.organizations o ON o.id = m.organization_id
            WHERE m.user_id = u.id AND (%(everything)s OR o.id = ANY(%(reached)s::uuid[]))) AS roles
    FROM bazar.users u
    WHERE lower(u.email) = ANY(%(emails)s::text[])
      AND (%(everything)s OR u.id = %(oneself)s OR EXISTS (
           SELECT 1 FROM bazar.memberships r WHERE r.user_id = u.id AND r.organization_id = ANY(%(reached)s::uuid[])))
"""
_ORGANIZATIONS = """
    SELECT o.id, o.slug, o.name, o.updated_at,
           jsonb_build_array(o.id, o.slug, o.name, extract(epoch FROM o.created_at),
                                 extract(epoch FROM o.updated_at))::text AS content
    FROM bazar.organizations o
    WHERE o.slug = ANY(%(slugs)s::text[]) AND (%(everything)s OR o.id = ANY(%(reached)s::uuid[]))
"""
_MEMBERS = """
    SELECT o.id AS organization_id, o.slug, u.id AS user_id, u.email, m.role,
           jsonb_build_array(m.organization_id, m.user_id, m.role,
                                 extract(epoch FROM m.created_at))::text AS content
    FROM bazar.memberships m
    JOIN bazar.organizations o ON o.id = m.organization_id JOIN bazar.users u ON u.id = m.user_id
    WHERE o.slug = ANY(%(slugs)s::text[]) AND (%(everything)s OR o.id = ANY(%(reached)s::uuid[]))
    ORDER BY o.slug, m.created_at, u.email
"""
_PLANS = """
    SELECT p.name, coalesce(x.permissions, '[]') AS permissions,
           jsonb_build_array(p.name, p.title, p.position, x.permissions)::text AS content
    FROM bazar.plans p
    LEFT JOIN (SELECT plan, jsonb_agg(permission ORDER BY permission) AS permissions
               FROM bazar.plan_permissions GROUP BY plan) x ON x.plan = p.name
    WHERE p.name = ANY(%(plans)s::text[])
"""
_OWNERS = """
    SELECT m.organization_id, m.user_id FROM bazar.memberships m JOIN bazar.users u ON u.id = m.user_id
    WHERE m.role = 'owner' AND u.state = 'active' AND coalesce(u.pending <> ALL (%(unfinished)s), true)
      AND m.organization_id IN (SELECT organization_id FROM bazar.memberships
                                WHERE role = 'owner' AND user_id = ANY(%(users)s::uuid[]))
"""


@dataclass(frozen=True)
class StoredUser:
    """An existing user that the operator can see."""

    id: uuid.UUID
    email: str
    name: str | None
    plan: Plan
    state: UserState
    pending: Pending | None
    adopted: bool
    updated_at: datetime
    content: str
    roles: Mapping[str, Role]
    """Roles by the slug of the organization, of those that the operator can see."""


@dataclass(frozen=True)
class StoredOrganization:
    """An existing organization that the operator can see."""

    id: uuid.UUID
    slug: str
    name: str
    updated_at: datetime
    content: str


@dataclass(frozen=True)
class StoredMember:
    """A membership in an organization that the operator can see."""

    organization_id: uuid.UUID
    slug: str
    user_id: uuid.UUID
    email: str
    role: Role
    content: str


@dataclass(frozen=True)
class StoredPlan:
    """A plan and what it allows, as far as this release knows the permissions."""

    name: Plan
    permissions: frozenset[Permission]
    content: str


def users(connection: Connection, reach: Reach, emails: Collection[str]) -> dict[str, StoredUser]:
    """Return the existing ones of these users, by address."""
    found = fetch_all(connection, _user, _USERS, {"emails": sorted(emails), **_values(reach)})
    return {user.email: user for user in found}


def organizations(connection: Connection, reach: Reach, slugs: Collection[str]) -> dict[str, StoredOrganization]:
    """Return the existing ones of these organizations, by slug."""
    found = fetch_all(connection, StoredOrganization, _ORGANIZATIONS, {"slugs": sorted(slugs), **_values(reach)})
    return {organization.slug: organization for organization in found}


def members(connection: Connection, reach: Reach, slugs: Collection[str]) -> list[StoredMember]:
    """Return all members of these organizations, by slug and time."""
    return fetch_all(connection, _member, _MEMBERS, {"slugs": sorted(slugs), **_values(reach)})


def plans(connection: Connection, names: Collection[Plan]) -> dict[Plan, StoredPlan]:
    """Return the existing ones of these plans."""
    found = fetch_all(connection, _plan, _PLANS, {"plans": [name.value for name in names]})
    return {plan.name: plan for plan in found}


def owners(connection: Connection, user_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, set[uuid.UUID]]:
    """Return the active owners of each organization of which one of these users is an owner."""
    found: dict[uuid.UUID, set[uuid.UUID]] = {}
    values = {"users": sorted(user_ids), "unfinished": [p.value for p in BEING_CREATED_OR_DELETED]}
    for organization_id, user_id in connection.execute(_OWNERS, values):
        found.setdefault(organization_id, set()).add(user_id)
    return found


def taken_addresses(connection: Connection, emails: Collection[str]) -> frozenset[str]:
    """Return which of these addresses users have, seen or not."""
    query = "SELECT lower(email) FROM bazar.users WHERE lower(email) = ANY(%s::text[])"
    return frozenset(fetch_values(connection, query, (sorted(emails),)))


def taken_slugs(connection: Connection, slugs: Collection[str]) -> frozenset[str]:
    """Return which of these slugs organizations have, seen or not."""
    query = "SELECT slug FROM bazar.organizations WHERE slug = ANY(%s::text[])"
    return frozenset(fetch_values(connection, query, (sorted(slugs),)))


def _values(reach: Reach) -> dict[str, Any]:
    return {
        "everything": reach.everything,
        "oneself": reach.user_id,
        "reached": sorted(reach.organization_ids),
    }


def _user(*, plan: str, state: str, pending: str | None, roles: dict[str, str] | None, **columns: Any) -> StoredUser:
    return StoredUser(
        plan=enum_value(Plan, plan, "users.plan"),
        state=enum_value(UserState, state, "users.state"),
        pending=enum_value(Pending, pending, "users.pending") if pending else None,
        roles={slug: enum_value(Role, role, "memberships.role") for slug, role in (roles or {}).items()},
        **columns,
    )


def _member(*, role: str, **columns: Any) -> StoredMember:
    return StoredMember(role=enum_value(Role, role, "memberships.role"), **columns)


def _plan(*, name: str, permissions: list[str], content: str) -> StoredPlan:
    known = {p.value: p for p in Permission}
    return StoredPlan(Plan(name), frozenset(known[p] for p in permissions if p in known), content)
