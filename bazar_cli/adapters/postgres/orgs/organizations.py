"""Organizations in Postgres, with the operator's reach applied in SQL."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from psycopg.errors import UniqueViolation

from bazar_cli.adapters.postgres import operator_rights
from bazar_cli.adapters.postgres.cursors import Position, decode, encode
from bazar_cli.adapters.postgres.orgs import memberships
from bazar_cli.adapters.postgres.rows import fetch_all, fetch_batches, fetch_one, fetch_value, fetch_values
from bazar_cli.domain.authz.spec import Reach
from bazar_cli.domain.entities import Organization, Role
from bazar_cli.domain.exports import WantedRows, WrittenRows
from bazar_cli.domain.orgs.organizations import ListOrganizations, slugs_like
from bazar_cli.domain.page import Page
from bazar_cli.domain.text_enum import TextEnum

if TYPE_CHECKING:
    from typing_extensions import LiteralString

    from bazar_cli.adapters.postgres.connections import Connection

_ORDER = "organizations"
"""Another name than that of a list of users, whose cursor is not valid here."""
_BATCH = 1000
"""Organizations that an export holds in memory."""
_SLUG_INDEX = "organizations_slug_key"
_MEMBERS = "SELECT count(*) FROM bazar.memberships m WHERE m.organization_id = o.id"
_COLUMNS = f"""
    SELECT o.id, o.slug, o.name, o.created_at, o.updated_at, ({_MEMBERS}) AS members
    FROM bazar.organizations o
"""  # noqa: S608 - constants
_BY_ID = f"{_COLUMNS} WHERE o.id = %(id)s"


class Lock(TextEnum):
    """How an organization's row is locked until the transaction ends; `operator_rights` has the order of locks."""

    KEEP = "FOR KEY SHARE"
    """Nobody deletes it or changes its slug."""
    ROLES = "FOR NO KEY UPDATE"
    """Nor does another command change the role of a member, or remove one."""
    CHANGE = "FOR UPDATE"
    """Nor does another command change it in any way, or add a member."""


def find(connection: Connection, reach: Reach, reference: str) -> Organization | None:
    """Return the organization by id or slug, None if the operator can see none."""
    where, values = _within_reach(reach)
    column, value = _by(reference)
    return fetch_one(connection, Organization, f"{_COLUMNS} WHERE {column} AND {where}", {**values, **value})


def lock(
    connection: Connection, reach: Reach, reference: str, lock: Lock = Lock.KEEP, *, wanted_slug: str | None = None
) -> Organization | None:
    """Like `find`, and locks the organization until the transaction ends.

    Parameters: `wanted_slug` is the one that it is to get. The organization that has it is locked too, so that two may
    swap theirs.
    Raises: RightsChanged if the operator lost sight of the organization meanwhile.
    """
    where, values = _within_reach(reach)
    column, value = _by(reference)
    also = "" if wanted_slug is None else "OR o.slug = %(wanted_slug)s"
    strength = cast("LiteralString", lock.value)
    rows = connection.execute(
        f"SELECT o.id, {column} AND {where} AS found FROM bazar.organizations o"  # noqa: S608 - constants
        f" WHERE ({column} AND {where}) {also} ORDER BY o.id {strength}",
        {**values, **value, "wanted_slug": wanted_slug},
    ).fetchall()
    locked = next((id_ for id_, is_the_one in rows if is_the_one), None)
    if locked is None:
        if not reach.everything:
            there = fetch_values(connection, f"SELECT o.id FROM bazar.organizations o WHERE {column}", value)  # noqa: S608 - constants
            named = (
                m.organization_id for m in reach.memberships if reference.lower() in (str(m.organization_id), m.slug)
            )
            operator_rights.compare_reach(connection, reach, {*there, *named})
        return None
    return fetch_one(connection, Organization, _BY_ID, {"id": locked})


def page(connection: Connection, reach: Reach, request: ListOrganizations) -> Page[Organization]:
    """Return one page by the key (created_at, id).

    Raises: UsageError `list.cursor_invalid`.
    """
    where, values = _within_reach(reach)
    if request.cursor is not None:
        after = decode(request.cursor, _ORDER, by_time=True)
        where += " AND (o.created_at, o.id) > (%(after_key)s::timestamptz, %(after_id)s::uuid)"
        values |= {"after_key": after.key, "after_id": after.id}
    query = f"{_COLUMNS} WHERE {where} ORDER BY o.created_at, o.id LIMIT %(limit)s"
    rows = fetch_all(connection, Organization, query, {**values, "limit": request.limit + 1})
    organizations = tuple(rows[: request.limit])
    if len(rows) <= request.limit:
        return Page(organizations, None)
    last = organizations[-1]
    return Page(organizations, encode(Position(_ORDER, last.created_at, last.id)))


def stream(connection: Connection, reach: Reach) -> Iterator[tuple[Organization, ...]]:
    """Yield all organizations that the operator can see, the oldest first, through a cursor of the server."""
    where, values = _within_reach(reach)
    query = f"{_COLUMNS} WHERE {where} ORDER BY o.created_at, o.id"
    yield from map(tuple, fetch_batches(connection, Organization, query, values, batch=_BATCH))


def texts(connection: Connection, reach: Reach, wanted: WantedRows) -> Iterator[WrittenRows]:
    """Yield the organizations of `stream` in the same order, as text that Postgres writes."""
    from bazar_cli.adapters.postgres.row_texts import Columns, fetch_texts, identifier, moment, number, text

    columns: Columns = {
        "id": identifier("o.id"),
        "slug": text("o.slug"),
        "name": text("o.name"),
        "members": number(_MEMBERS),
        "created_at": moment("o.created_at"),
        "updated_at": moment("o.updated_at"),
    }
    where, values = _within_reach(reach)
    rows: LiteralString = f"FROM bazar.organizations o WHERE {where} ORDER BY o.created_at, o.id"
    return fetch_texts(connection, wanted, columns, rows, values)


def insert(
    connection: Connection, organization_id: uuid.UUID, slug: str, name: str, owner_id: uuid.UUID
) -> Organization | None:
    """Insert an organization and its owner; None, and nothing inserted, where the slug is taken."""
    inserted = connection.execute(
        "INSERT INTO bazar.organizations (id, slug, name, created_at, updated_at)"
        " VALUES (%s, %s, %s, now(), now()) ON CONFLICT (slug) DO NOTHING",
        (organization_id, slug, name),
    )
    if inserted.rowcount == 0:
        return None
    memberships.insert(connection, organization_id, owner_id, Role.OWNER)
    return fetch_one(connection, Organization, _BY_ID, {"id": organization_id})


def change(connection: Connection, organization_id: uuid.UUID, slug: str, name: str) -> Organization | None:
    """Write slug and name; None, and nothing written, where the slug is taken."""
    try:
        with connection.transaction():  # a savepoint
            connection.execute(
                "UPDATE bazar.organizations SET slug = %s, name = %s, updated_at = now() WHERE id = %s",
                (slug, name, organization_id),
            )
    except UniqueViolation as error:
        if error.diag.constraint_name == _SLUG_INDEX:
            return None
        raise
    return fetch_one(connection, Organization, _BY_ID, {"id": organization_id})


def delete(connection: Connection, organization_id: uuid.UUID) -> None:
    """Delete an organization; its memberships go with it."""
    in_order = "SELECT 1 FROM bazar.memberships WHERE organization_id = %s ORDER BY user_id FOR UPDATE"
    connection.execute(f"SELECT count(*) FROM ({in_order}) AS held", (organization_id,))  # noqa: S608 - constant
    connection.execute("DELETE FROM bazar.organizations WHERE id = %s", (organization_id,))


def free_slug(connection: Connection, slug: str) -> str | None:
    """Return the first slug like this one that no organization has."""
    query = """
        SELECT c.slug FROM unnest(%s::text[]) WITH ORDINALITY AS c (slug, position)
        WHERE NOT EXISTS (SELECT 1 FROM bazar.organizations o WHERE o.slug = c.slug)
        ORDER BY c.position LIMIT 1
    """
    return fetch_value(connection, query, (list(slugs_like(slug)),))


def _within_reach(reach: Reach) -> tuple[LiteralString, dict[str, Any]]:
    if reach.everything:
        return "true", {}
    return "o.id = ANY(%(organizations)s::uuid[])", {"organizations": sorted(reach.organization_ids)}


def _by(reference: str) -> tuple[LiteralString, Mapping[str, Any]]:
    """Return the condition for an organization's id or slug; a slug is in lower case and never looks like an id."""
    try:
        return "o.id = %(ref_id)s", {"ref_id": uuid.UUID(reference)}
    except ValueError:
        if not reference.isascii() or "\0" in reference:
            return "false", {}  # no organization has it, and Postgres may refuse it as text
        return "o.slug = %(ref_slug)s", {"ref_slug": reference.lower()}
