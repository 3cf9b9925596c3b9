"""Organizations in Postgres, with the operator's reach applied in SQL."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from enum import Enum
from typing import Any

from psycopg.errors import UniqueViolation
from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import IntegrityError

from bazar_cli.adapters.postgres import rights
from bazar_cli.adapters.postgres.cursors import Position, decode, encode
from bazar_cli.domain.authz.spec import Reach
from bazar_cli.domain.entities import Organization, Role
from bazar_cli.domain.orgs.organizations import ListOrganizations, slugs_like
from bazar_cli.domain.page import Page

_ORDER = "organizations"
"""Not that of a list of users, whose cursor would be none here."""
_SLUG_INDEX = "organizations_slug_key"
_COLUMNS = """
    SELECT o.id, o.slug, o.name, o.created_at, o.updated_at,
           (SELECT count(*) FROM bazar.memberships m WHERE m.organization_id = o.id) AS members
    FROM bazar.organizations o
"""


class Lock(str, Enum):
    """How an organization's row is held until the transaction ends; in which order is said in `rights`."""

    KEEP = "FOR KEY SHARE"
    """It is not deleted, nor its slug changed."""
    ROLES = "FOR NO KEY UPDATE"
    """Nor does another command change the role of a member, or take one out."""
    CHANGE = "FOR UPDATE"
    """Nor does another command do anything to it, or add a member."""


def find(connection: Connection, reach: Reach, reference: str) -> Organization | None:
    """Return the organization by id or slug, None when there is none within reach."""
    where, values = _reached(reach)
    column, value = _by(reference)
    row = connection.execute(text(f"{_COLUMNS} WHERE {column} AND {where}"), {**values, **value}).one_or_none()
    return None if row is None else _organization(row)


def lock(
    connection: Connection, reach: Reach, reference: str, lock: Lock = Lock.KEEP, *, wanted_slug: str | None = None
) -> Organization | None:
    """Like `find`, and locks the organization until the transaction ends.

    Parameters: `wanted_slug` is the one that it is to get: who has that is locked too, so that two may swap theirs.
    Raises: RightsChanged when there is none, and the reach is another one by now.
    """
    where, values = _reached(reach)
    column, value = _by(reference)
    also = "" if wanted_slug is None else "OR o.slug = :wanted_slug"
    rows = connection.execute(
        text(
            f"SELECT o.id, {column} AND {where} AS found FROM bazar.organizations o"  # noqa: S608 - constants
            f" WHERE ({column} AND {where}) {also} ORDER BY o.id {lock.value}"
        ),
        {**values, **value, "wanted_slug": wanted_slug},
    ).all()
    locked = next((row.id for row in rows if row.found), None)
    if locked is None:
        if not reach.everything:
            there = connection.execute(text(f"SELECT o.id FROM bazar.organizations o WHERE {column}"), value).scalars()  # noqa: S608 - constants
            named = (
                m.organization_id for m in reach.memberships if reference.lower() in (str(m.organization_id), m.slug)
            )
            rights.compare_reach(connection, reach, {*there, *named})
        return None
    return _organization(connection.execute(text(f"{_COLUMNS} WHERE o.id = :id"), {"id": locked}).one())


def page(connection: Connection, reach: Reach, request: ListOrganizations) -> Page[Organization]:
    """Return one page by the key (created_at, id).

    Raises: UsageError `list.cursor_invalid`.
    """
    where, values = _reached(reach)
    if request.cursor is not None:
        after = decode(request.cursor, _ORDER, by_time=True)
        where += " AND (o.created_at, o.id) > (CAST(:after_key AS timestamptz), CAST(:after_id AS uuid))"
        values |= {"after_key": after.key, "after_id": after.id}
    rows = connection.execute(
        text(f"{_COLUMNS} WHERE {where} ORDER BY o.created_at, o.id LIMIT :limit"),
        {**values, "limit": request.limit + 1},
    ).all()
    organizations = tuple(_organization(row) for row in rows[: request.limit])
    if len(rows) <= request.limit:
        return Page(organizations, None)
    last = organizations[-1]
    return Page(organizations, encode(Position(_ORDER, last.created_at, last.id)))


def insert(
    connection: Connection, organization_id: uuid.UUID, slug: str, name: str, owner_id: uuid.UUID
) -> Organization | None:
    """Insert an organization and its owner; None, and nothing inserted, where the slug is taken."""
    inserted = connection.execute(
        text(
            "INSERT INTO bazar.organizations (id, slug, name, created_at, updated_at)"
            " VALUES (:id, :slug, :name, now(), now()) ON CONFLICT (slug) DO NOTHING"
        ),
        {"id": organization_id, "slug": slug, "name": name},
    )
    if inserted.rowcount == 0:
        return None
    connection.execute(
        text(
            "INSERT INTO bazar.memberships (organization_id, user_id, role, created_at)"
            " VALUES (:organization, :user, :role, now())"
        ),
        {"organization": organization_id, "user": owner_id, "role": Role.OWNER.value},
    )
    return _organization(connection.execute(text(f"{_COLUMNS} WHERE o.id = :id"), {"id": organization_id}).one())


def change(connection: Connection, organization_id: uuid.UUID, slug: str, name: str) -> Organization | None:
    """Write slug and name; None, and nothing written, where the slug is taken."""
    try:
        with connection.begin_nested():
            connection.execute(
                text("UPDATE bazar.organizations SET slug = :slug, name = :name, updated_at = now() WHERE id = :id"),
                {"id": organization_id, "slug": slug, "name": name},
            )
    except IntegrityError as error:
        if isinstance(error.orig, UniqueViolation) and error.orig.diag.constraint_name == _SLUG_INDEX:
            return None
        raise
    return _organization(connection.execute(text(f"{_COLUMNS} WHERE o.id = :id"), {"id": organization_id}).one())


def delete(connection: Connection, organization_id: uuid.UUID) -> None:
    """Delete an organization; its memberships go with it."""
    in_order = "SELECT 1 FROM bazar.memberships WHERE organization_id = :id ORDER BY user_id FOR UPDATE"
    connection.execute(text(f"SELECT count(*) FROM ({in_order}) AS held"), {"id": organization_id})  # noqa: S608 - constant
    connection.execute(text("DELETE FROM bazar.organizations WHERE id = :id"), {"id": organization_id})


def free_slug(connection: Connection, slug: str) -> str | None:
    """Return the first slug like this one that no organization has."""
    return connection.execute(
        text(
            """
            SELECT c.slug FROM unnest(CAST(:candidates AS text[])) WITH ORDINALITY AS c (slug, position)
            WHERE NOT EXISTS (SELECT 1 FROM bazar.organizations o WHERE o.slug = c.slug)
            ORDER BY c.position LIMIT 1
            """
        ),
        {"candidates": list(slugs_like(slug))},
    ).scalar_one_or_none()


def _reached(reach: Reach) -> tuple[str, dict[str, Any]]:
    if reach.everything:
        return "true", {}
    return "o.id = ANY(CAST(:organizations AS uuid[]))", {
        "organizations": [str(i) for i in sorted(reach.organization_ids)]
    }


def _by(reference: str) -> tuple[str, Mapping[str, Any]]:
    """An organization is named by id or slug; a slug is in lower case and never looks like an id."""
    try:
        return "o.id = :ref_id", {"ref_id": uuid.UUID(reference)}
    except ValueError:
        if not reference.isascii() or "\0" in reference:
            return "false", {}  # names nobody, and Postgres may not take it as text at all
        return "o.slug = :ref_slug", {"ref_slug": reference.lower()}


def _organization(row: Row[Any]) -> Organization:
    return Organization(row.id, row.slug, row.name, row.members, row.created_at, row.updated_at)
