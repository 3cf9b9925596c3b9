"""Memberships in Postgres: who belongs to an organization, in which role.

The operator's reach is applied where the organization and the user are looked up.
"""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import Connection, Row, text

from bazar_cli.adapters.postgres.cursors import Position, decode, encode
from bazar_cli.adapters.postgres.rows import word
from bazar_cli.domain.entities import BEING_CREATED_OR_DELETED, Role, UserState
from bazar_cli.domain.orgs.members import ListMembers, Member
from bazar_cli.domain.page import Page

_ORDER = "members"


def page(connection: Connection, organization_id: uuid.UUID, request: ListMembers) -> Page[Member]:
    """Return one page of an organization's members by the key (joined_at, user id), from an index.

    Raises: UsageError `list.cursor_invalid`.
    """
    values: dict[str, Any] = {"organization": organization_id, "limit": request.limit + 1}
    where = "m.organization_id = :organization"
    if request.role is not None:
        where += " AND m.role = :role"
        values["role"] = request.role.value
    if request.cursor is not None:
        after = decode(request.cursor, _ORDER, by_time=True)
        where += " AND (m.created_at, m.user_id) > (CAST(:after_key AS timestamptz), CAST(:after_id AS uuid))"
        values |= {"after_key": after.key, "after_id": after.id}
    rows = connection.execute(
        text(
            f"""
            SELECT u.id, u.email, u.name, m.role, u.state, m.created_at
            FROM bazar.memberships m JOIN bazar.users u ON u.id = m.user_id
            WHERE {where} ORDER BY m.created_at, m.user_id LIMIT :limit
            """  # noqa: S608 - constants
        ),
        values,
    ).all()
    members = tuple(_member(row) for row in rows[: request.limit])
    if len(rows) <= request.limit:
        return Page(members, None)
    last = members[-1]
    return Page(members, encode(Position(_ORDER, last.joined_at, last.user_id)))


def insert(connection: Connection, organization_id: uuid.UUID, user_id: uuid.UUID, role: Role) -> None:
    """Insert a membership that is not there; both rows are locked."""
    connection.execute(
        text(
            "INSERT INTO bazar.memberships (organization_id, user_id, role, created_at)"
            " VALUES (:organization, :user, :role, now())"
        ),
        {"organization": organization_id, "user": user_id, "role": role.value},
    )


def change(connection: Connection, organization_id: uuid.UUID, user_id: uuid.UUID, role: Role) -> None:
    """Write the role of a member."""
    connection.execute(
        text("UPDATE bazar.memberships SET role = :role WHERE organization_id = :organization AND user_id = :user"),
        {"organization": organization_id, "user": user_id, "role": role.value},
    )


def delete(connection: Connection, organization_id: uuid.UUID, user_id: uuid.UUID) -> None:
    """Delete a membership."""
    connection.execute(
        text("DELETE FROM bazar.memberships WHERE organization_id = :organization AND user_id = :user"),
        {"organization": organization_id, "user": user_id},
    )


def has_other_owner(connection: Connection, organization_id: uuid.UUID, user_id: uuid.UUID) -> bool:
    """Whether somebody else is an active owner; who is suspended, or being created or deleted, is none."""
    return bool(
        connection.execute(
            text(
                """
                SELECT EXISTS (
                    SELECT 1 FROM bazar.memberships m JOIN bazar.users u ON u.id = m.user_id
                    WHERE m.organization_id = :organization AND m.role = 'owner' AND m.user_id <> :user
                      AND u.state = 'active' AND coalesce(u.pending <> ALL (:coming_or_going), true))
                """
            ),
            {
                "organization": organization_id,
                "user": user_id,
                "coming_or_going": [p.value for p in BEING_CREATED_OR_DELETED],
            },
        ).scalar_one()
    )


def owners(connection: Connection, organization_id: uuid.UUID) -> tuple[uuid.UUID, ...]:
    """Return the ids of all owners, in service or not."""
    found = connection.execute(
        text("SELECT user_id FROM bazar.memberships WHERE organization_id = :id AND role = 'owner' ORDER BY user_id"),
        {"id": organization_id},
    )
    return tuple(found.scalars())


def roles(connection: Connection, organization_id: uuid.UUID) -> dict[Role, int]:
    """Count the members by role, the highest first; a role that nobody has counts 0."""
    rows = connection.execute(
        text("SELECT role, count(*) AS members FROM bazar.memberships WHERE organization_id = :id GROUP BY role"),
        {"id": organization_id},
    ).all()
    counted = {row.role: int(row.members) for row in rows}
    return {role: counted.get(role.value, 0) for role in Role}


def only_here(connection: Connection, organization_id: uuid.UUID) -> int:
    """Count the members who belong to no other organization."""
    return int(
        connection.execute(
            text(
                """
                SELECT count(*) FROM bazar.memberships m WHERE m.organization_id = :id AND NOT EXISTS (
                    SELECT 1 FROM bazar.memberships n
                    WHERE n.user_id = m.user_id AND n.organization_id <> m.organization_id)
                """
            ),
            {"id": organization_id},
        ).scalar_one()
    )


def _member(row: Row[Any]) -> Member:
    role, state = word(Role, row.role, "memberships.role"), word(UserState, row.state, "users.state")
    return Member(row.id, row.email, row.name, role, state, row.created_at)
