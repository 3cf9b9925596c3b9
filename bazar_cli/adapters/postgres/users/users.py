"""Users in Postgres: every query on them, with the operator's reach applied in SQL."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

from bazar_cli.adapters.postgres import rights
from bazar_cli.adapters.postgres.cursors import Position, decode, encode
from bazar_cli.adapters.postgres.rows import word
from bazar_cli.domain.authz.spec import Reach
from bazar_cli.domain.db.database import no_marker
from bazar_cli.domain.entities import BEING_CREATED_OR_DELETED, Membership, Pending, Plan, Role, User, UserState
from bazar_cli.domain.page import Page
from bazar_cli.domain.texts import composed, decomposed
from bazar_cli.domain.users.users import ListUsers, UserSort

# Fragments are constants; values travel as parameters only.
_COLUMNS = """
    SELECT u.id, u.email, u.name, u.plan, u.state, u.pending, u.is_superuser, u.created_at, u.updated_at,
           u.lease_until > clock_timestamp() AS leased, u.origin,
           coalesce((SELECT jsonb_agg(jsonb_build_array(o.id, o.slug, m.role) ORDER BY o.slug)
                     FROM bazar.memberships m JOIN bazar.organizations o ON o.id = m.organization_id
                     WHERE m.user_id = u.id AND {visible}), '[]'::jsonb) AS organizations
    FROM bazar.users u
"""
_ALL = _COLUMNS.format(visible="true")
_SHARED = _COLUMNS.format(visible="m.organization_id = ANY(CAST(:organizations AS uuid[]))")
_WITHIN_REACH = """
    (u.id = :oneself OR EXISTS (SELECT 1 FROM bazar.memberships r WHERE r.user_id = u.id
                                AND r.organization_id = ANY(CAST(:organizations AS uuid[]))))
"""
# The same as one set of ids, with which Postgres begins: of all users it would look at each one.
_AMONG_FEW = """
    u.id IN (SELECT CAST(:oneself AS uuid) UNION ALL
             SELECT r.user_id FROM bazar.memberships r
             WHERE r.organization_id = ANY(CAST(:organizations AS uuid[])))
"""
_ORGANIZATIONS_OF = """
    SELECT m.organization_id FROM bazar.memberships m JOIN bazar.users u ON u.id = m.user_id WHERE
"""
_KEEP_ORGANIZATIONS = text(
    """
    SELECT id FROM bazar.organizations WHERE id IN (SELECT organization_id FROM bazar.memberships WHERE user_id = :id)
    ORDER BY id FOR KEY SHARE
    """
)
_FEW = 5_000
"""So many members are sorted faster than as many users of a million are passed over for a page of theirs."""
_RULERS_KEY = 0x62617A6172_01
_SORT_KEYS = {UserSort.CREATED: ("u.created_at", "timestamptz"), UserSort.EMAIL: ("u.email", "text")}


@dataclass(frozen=True)
class LockedUser:
    """A user row locked for the transaction: with all memberships, seen or not, and its lease."""

    user: User
    leased: bool
    """Another command is in the middle of it."""
    adopted: bool
    """The identity was at Supabase first, and the row took its id."""


def find(connection: Connection, reach: Reach, reference: str) -> User | None:
    """Return the user by id or email, None when there is none within reach."""
    statement, values = _reached(reach)
    column, value = _by(reference)
    row = connection.execute(text(f"{statement} AND {column}"), {**values, **value}).one_or_none()
    return None if row is None else _user(row)


def seen(connection: Connection, reach: Reach, user_id: uuid.UUID) -> User:
    """Return a user who was locked within reach as the operator may see them: without memberships out of reach."""
    found = find(connection, reach, str(user_id))
    assert found is not None, "a user that was locked within reach is within reach"
    return found


def is_there(connection: Connection, user_id: uuid.UUID) -> bool:
    """Say whether a user has this id, whoever may see them: for what an identity at Supabase is to this Bazar."""
    return bool(
        connection.execute(text("SELECT EXISTS (SELECT 1 FROM bazar.users WHERE id = :id)"), {"id": user_id}).scalar()
    )


def find_whole(connection: Connection, reach: Reach, reference: str) -> User | None:
    """Return a user within reach with all memberships, seen or not: for the row rules of a command that reads."""
    found = find(connection, reach, reference)
    return None if found is None else _held(connection, found.id).user


def lock(connection: Connection, reach: Reach, reference: str) -> LockedUser | None:
    """Lock the user by id or email until the transaction ends; None when there is none within reach.

    Within a reach their organizations stay too: who deletes one comes first, and the user is not in it any more.
    Raises: RightsChanged when there is none, and the reach is another one by now.
    """
    _, values = _reached(reach)
    where = "" if reach.everything else f"AND {_WITHIN_REACH}"
    column, value = _by(reference)
    locked = connection.execute(
        text(f"SELECT u.id FROM bazar.users u WHERE {column} {where} FOR UPDATE OF u"),  # noqa: S608 - constants
        {**values, **value},
    ).scalar_one_or_none()
    if locked is not None and (reach.everything or locked == reach.user_id):
        return _held(connection, locked)
    if locked is not None:
        connection.execute(_KEEP_ORGANIZATIONS, {"id": locked})
        held = _held(connection, locked)
        if not reach.organization_ids.isdisjoint(m.organization_id for m in held.user.organizations):
            return held
    if not reach.everything:
        theirs = connection.execute(text(f"{_ORGANIZATIONS_OF} {column}"), value).scalars().all()
        rights.compare_reach(connection, reach, theirs)
    return None


def lock_by_email(connection: Connection, email: str) -> LockedUser | None:
    """Lock the user with this email, whoever may see it: for the uniqueness of addresses."""
    locked = connection.execute(
        text("SELECT id FROM bazar.users WHERE lower(email) = :email FOR UPDATE"), {"email": email}
    ).scalar_one_or_none()
    return None if locked is None else _held(connection, locked)


def lock_by_id(connection: Connection, user_id: uuid.UUID) -> LockedUser | None:
    """Lock the user with this id, to finish what this command began."""
    locked = connection.execute(
        text("SELECT id FROM bazar.users WHERE id = :id FOR UPDATE"), {"id": user_id}
    ).scalar_one_or_none()
    return None if locked is None else _held(connection, locked)


def user_being_created_or_deleted_in(connection: Connection, organization_id: uuid.UUID) -> LockedUser | None:
    """Return, without a lock, a member of an organization who is being created or deleted; None where nobody is."""
    found = connection.execute(
        text(
            """
            SELECT u.id FROM bazar.users u JOIN bazar.memberships m ON m.user_id = u.id
            WHERE u.pending = ANY (:coming_or_going) AND m.organization_id = :id ORDER BY u.email LIMIT 1
            """
        ),
        {"id": organization_id, "coming_or_going": [p.value for p in BEING_CREATED_OR_DELETED]},
    ).scalar_one_or_none()
    return None if found is None else _held(connection, found)


def page(connection: Connection, reach: Reach, request: ListUsers, organization_id: uuid.UUID | None) -> Page[User]:
    """Return one page by key, so that every page costs the same (docs/architecture.md).

    Raises: UsageError `list.cursor_invalid`.
    """
    statement, values = _reached(reach)
    if not reach.everything and _are_few(connection, values):
        statement = f"{_SHARED} WHERE {_AMONG_FEW}"
    key, kind = _SORT_KEYS[request.sort]
    filters: list[str] = []
    if organization_id is not None:
        filters.append(
            "EXISTS (SELECT 1 FROM bazar.memberships f WHERE f.user_id = u.id AND f.organization_id = :in_org)"
        )
        values["in_org"] = organization_id
    if request.plan is not None:
        filters.append("u.plan = :plan")
        values["plan"] = request.plan.value
    if request.state is not None:
        filters.append("u.state = :state")
        values["state"] = request.state.value
    if request.search:
        # A name that another program stored may be decomposed, which looks the same.
        forms = {composed(request.search.lower()), decomposed(request.search.lower())}
        filters.append("(u.email LIKE ANY (:search) OR u.name ILIKE ANY (:search))")
        values["search"] = [f"%{_escaped(form)}%" for form in sorted(forms)]
    if request.created_since is not None:
        filters.append("u.created_at >= :since")
        values["since"] = request.created_since
    if request.cursor is not None:
        by_time = request.sort is UserSort.CREATED
        after = decode(request.cursor, request.sort.value, by_time=by_time, sortable=True)
        filters.append(f"({key}, u.id) > (CAST(:after_key AS {kind}), CAST(:after_id AS uuid))")
        values |= {"after_key": after.key, "after_id": after.id}
    where = "".join(f" AND {f}" for f in filters)
    rows = connection.execute(
        text(f"{statement}{where} ORDER BY {key}, u.id LIMIT :limit"), {**values, "limit": request.limit + 1}
    ).all()
    users = tuple(_user(row) for row in rows[: request.limit])
    if len(rows) <= request.limit:
        return Page(users, None)
    last = users[-1]
    value = last.email if request.sort is UserSort.EMAIL else last.created_at
    return Page(users, encode(Position(request.sort.value, value, last.id)))


def deployment(connection: Connection) -> uuid.UUID:
    """Return the marker's id, which stamps the identities of this deployment. Raises: Conflict `db.no_marker`."""
    found = connection.execute(text("SELECT id FROM bazar.deployment")).scalar_one_or_none()
    if found is None:
        raise no_marker()
    return found


def other_active_superusers(connection: Connection, user_id: uuid.UUID) -> int:
    """Count the active superusers on Premium beside this user, once nobody else is taking one out of service.

    That is one lock of its own, which all who do it take: the rows of the others are what their own commands need.
    """
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _RULERS_KEY})
    return connection.execute(
        text(
            """
            SELECT count(*) FROM bazar.users WHERE is_superuser AND plan = 'premium' AND state = 'active'
            AND pending IS DISTINCT FROM 'delete' AND id <> :id
            """
        ),
        {"id": user_id},
    ).scalar_one()


def organizations_owned_alone(connection: Connection, user_id: uuid.UUID) -> tuple[str, ...]:
    """Return the slugs of the organizations whose only active owner this user is.

    Who is being created or deleted counts for nobody yet, or no more. It locks the organizations as whoever changes
    roles does; members may be added meanwhile.
    """
    connection.execute(
        text(
            """
            SELECT id FROM bazar.organizations WHERE id IN (
                SELECT organization_id FROM bazar.memberships WHERE user_id = :id AND role = 'owner')
            ORDER BY id FOR NO KEY UPDATE
            """
        ),
        {"id": user_id},
    )
    return tuple(
        connection.execute(
            text(
                """
                SELECT o.slug FROM bazar.memberships m JOIN bazar.organizations o ON o.id = m.organization_id
                WHERE m.user_id = :id AND m.role = 'owner' AND NOT EXISTS (
                    SELECT 1 FROM bazar.memberships n JOIN bazar.users u ON u.id = n.user_id
                    WHERE n.organization_id = m.organization_id AND n.role = 'owner' AND n.user_id <> :id
                      AND u.state = 'active' AND coalesce(u.pending <> ALL (:coming_or_going), true))
                ORDER BY o.slug
                """
            ),
            {"id": user_id, "coming_or_going": [p.value for p in BEING_CREATED_OR_DELETED]},
        ).scalars()
    )


def _reached(reach: Reach) -> tuple[str, dict[str, Any]]:
    """The select of users within reach, with only the memberships that the operator may see."""
    if reach.everything:
        return f"{_ALL} WHERE true", {}
    values = {"oneself": reach.user_id, "organizations": [str(i) for i in sorted(reach.organization_ids)]}
    return f"{_SHARED} WHERE {_WITHIN_REACH}", values


def _are_few(connection: Connection, values: Mapping[str, Any]) -> bool:
    counted = text(
        "SELECT count(*) FROM (SELECT 1 FROM bazar.memberships"
        " WHERE organization_id = ANY(CAST(:organizations AS uuid[])) LIMIT :few) AS members"
    )
    return connection.execute(counted, {**values, "few": _FEW}).scalar_one() < _FEW


def _by(reference: str) -> tuple[str, Mapping[str, Any]]:
    """A user is named by id or by email; an email always has an @, an id never."""
    try:
        return "u.id = :ref_id", {"ref_id": uuid.UUID(reference)}
    except ValueError:
        if not reference.isascii() or "\0" in reference:
            return "false", {}  # names nobody, and Postgres may not take it as text at all
        return "lower(u.email) = :ref_email", {"ref_email": reference.lower()}


def _escaped(search: str) -> str:
    return search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _held(connection: Connection, user_id: uuid.UUID) -> LockedUser:
    row = connection.execute(text(f"{_ALL} WHERE u.id = :id"), {"id": user_id}).one()
    return LockedUser(_user(row), leased=bool(row.leased), adopted=row.origin == "adopted")


def _user(row: Row[Any]) -> User:
    return User(
        id=row.id,
        email=row.email,
        name=row.name,
        plan=word(Plan, row.plan, "users.plan"),
        state=word(UserState, row.state, "users.state"),
        pending=word(Pending, row.pending, "users.pending") if row.pending else None,
        is_superuser=row.is_superuser,
        organizations=tuple(
            Membership(uuid.UUID(i), slug, word(Role, role, "memberships.role")) for i, slug, role in row.organizations
        ),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
