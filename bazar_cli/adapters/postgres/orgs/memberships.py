"""Memberships in Postgres: the members of an organization, with their roles.

The operator's reach is applied where the organization and the user are looked up.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from bazar_cli.adapters.postgres.cursors import Position, decode, encode
from bazar_cli.adapters.postgres.rows import enum_value, fetch_all, fetch_value, fetch_values
from bazar_cli.domain.entities import BEING_CREATED_OR_DELETED, Role, UserState
from bazar_cli.domain.orgs.members import ListMembers, Member
from bazar_cli.domain.page import Page

if TYPE_CHECKING:
    from typing_extensions import LiteralString

    from bazar_cli.adapters.postgres.connections import Connection

_ORDER = "members"
_OTHER_OWNER = """
    SELECT EXISTS (
        SELECT 1 FROM bazar.memberships m JOIN bazar.users u ON u.id = m.user_id
        WHERE m.organization_id = %(organization)s AND m.role = 'owner' AND m.user_id <> %(user)s
          AND u.state = 'active' AND coalesce(u.pending <> ALL (%(being_created_or_deleted)s), true))
"""
_ONLY_HERE = """
    SELECT count(*) FROM bazar.memberships m WHERE m.organization_id = %s AND NOT EXISTS (
        SELECT 1 FROM bazar.memberships n WHERE n.user_id = m.user_id AND n.organization_id <> m.organization_id)
"""


def page(connection: Connection, organization_id: uuid.UUID, request: ListMembers) -> Page[Member]:
    """Return one page of an organization's members by the key (joined_at, user id), from an index.

    Raises: UsageError `list.cursor_invalid`.
    """
    values: dict[str, Any] = {"organization": organization_id, "limit": request.limit + 1}
    where: LiteralString = "m.organization_id = %(organization)s"
    if request.role is not None:
        where += " AND m.role = %(role)s"
        values["role"] = request.role.value
    if request.cursor is not None:
        after = decode(request.cursor, _ORDER, by_time=True)
        where += " AND (m.created_at, m.user_id) > (%(after_key)s::timestamptz, %(after_id)s::uuid)"
        values |= {"after_key": after.key, "after_id": after.id}
    query = f"""
        SELECT u.id AS user_id, u.email, u.name, m.role, u.state, m.created_at AS joined_at
        FROM bazar.memberships m JOIN bazar.users u ON u.id = m.user_id
        WHERE {where} ORDER BY m.created_at, m.user_id LIMIT %(limit)s
    """  # noqa: S608 - constants
    rows = fetch_all(connection, _member, query, values)
    members = tuple(rows[: request.limit])
    if len(rows) <= request.limit:
        return Page(members, None)
    last = members[-1]
    return Page(members, encode(Position(_ORDER, last.joined_at, last.user_id)))


def insert(connection: Connection, organization_id: uuid.UUID, user_id: uuid.UUID, role: Role) -> None:
    """Insert a membership that is not there; both rows are locked."""
    connection.execute(
        "INSERT INTO bazar.memberships (organization_id, user_id, role, created_at) VALUES (%s, %s, %s, now())",
        (organization_id, user_id, role.value),
    )


def change(connection: Connection, organization_id: uuid.UUID, user_id: uuid.UUID, role: Role) -> None:
    """Write the role of a member."""
    connection.execute(
        "UPDATE bazar.memberships SET role = %s WHERE organization_id = %s AND user_id = %s",
        (role.value, organization_id, user_id),
    )


def delete(connection: Connection, organization_id: uuid.UUID, user_id: uuid.UUID) -> None:
    """Delete a membership."""
    connection.execute(
        "DELETE FROM bazar.memberships WHERE organization_id = %s AND user_id = %s", (organization_id, user_id)
    )


def has_other_owner(connection: Connection, organization_id: uuid.UUID, user_id: uuid.UUID) -> bool:
    """Whether another user is an active owner. One who is suspended, or being created or deleted, does not count."""
    values = {
        "organization": organization_id,
        "user": user_id,
        "being_created_or_deleted": [p.value for p in BEING_CREATED_OR_DELETED],
    }
    return fetch_value(connection, _OTHER_OWNER, values)


def owners(connection: Connection, organization_id: uuid.UUID) -> tuple[uuid.UUID, ...]:
    """Return the ids of all owners, active or not."""
    query = "SELECT user_id FROM bazar.memberships WHERE organization_id = %s AND role = 'owner' ORDER BY user_id"
    return tuple(fetch_values(connection, query, (organization_id,)))


def roles(connection: Connection, organization_id: uuid.UUID) -> dict[Role, int]:
    """Count the members by role, the highest first; a role without members counts 0."""
    query = "SELECT role, count(*) FROM bazar.memberships WHERE organization_id = %s GROUP BY role"
    counted: dict[str, int] = dict(connection.execute(query, (organization_id,)).fetchall())
    return {role: counted.get(role.value, 0) for role in Role}


def only_here(connection: Connection, organization_id: uuid.UUID) -> int:
    """Count the members who belong to no other organization."""
    return fetch_value(connection, _ONLY_HERE, (organization_id,))


def _member(*, role: str, state: str, **columns: Any) -> Member:
    return Member(
        role=enum_value(Role, role, "memberships.role"),
        state=enum_value(UserState, state, "users.state"),
        **columns,
    )
