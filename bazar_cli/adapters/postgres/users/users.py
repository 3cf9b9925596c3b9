"""Users in Postgres: every query on them, with the operator's reach applied in SQL."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bazar_cli.adapters.postgres import operator_rights
from bazar_cli.adapters.postgres.cursors import Position, decode, encode
from bazar_cli.adapters.postgres.rows import enum_value, fetch_all, fetch_batches, fetch_one, fetch_value, fetch_values
from bazar_cli.domain.authz.spec import Reach
from bazar_cli.domain.entities import BEING_CREATED_OR_DELETED, Membership, Pending, Plan, Role, User, UserState
from bazar_cli.domain.exports import WantedRows, WrittenRows
from bazar_cli.domain.page import Page
from bazar_cli.domain.texts import composed, decomposed
from bazar_cli.domain.users.users import ListUsers, UserSort

if TYPE_CHECKING:
    from typing_extensions import LiteralString

    from bazar_cli.adapters.postgres.connections import Connection

# Fragments are constants; values travel as parameters only.
_MEMBERSHIPS = """
    bazar.memberships m JOIN bazar.organizations o ON o.id = m.organization_id WHERE m.user_id = u.id
"""
_COLUMNS = """
    SELECT u.id, u.email, u.name, u.plan, u.state, u.pending, u.is_superuser, u.created_at, u.updated_at,
           {lease}
           (SELECT jsonb_agg(jsonb_build_array(o.id, o.slug, m.role) ORDER BY o.slug)
            FROM {memberships}) AS organizations
    FROM bazar.users u
"""
_LOCKED = _COLUMNS.format(
    lease="coalesce(u.lease_until > clock_timestamp(), false) AS leased, u.origin = 'adopted' AS adopted,",
    memberships=_MEMBERSHIPS,
)
_SHARED_MEMBERSHIPS = f"{_MEMBERSHIPS} AND m.organization_id = ANY(%(organizations)s::uuid[])"
_WITHIN_REACH = """
    (u.id = %(oneself)s OR EXISTS (SELECT 1 FROM bazar.memberships r WHERE r.user_id = u.id
                                AND r.organization_id = ANY(%(organizations)s::uuid[])))
"""
# The same as one set of ids, with which Postgres begins: of all users it would look at each one.
_AMONG_FEW = """
    u.id IN (SELECT %(oneself)s::uuid UNION ALL
             SELECT r.user_id FROM bazar.memberships r
             WHERE r.organization_id = ANY(%(organizations)s::uuid[]))
"""
_ORGANIZATIONS_OF = """
    SELECT m.organization_id FROM bazar.memberships m JOIN bazar.users u ON u.id = m.user_id WHERE
"""
_KEEP_ORGANIZATIONS = """
    SELECT id FROM bazar.organizations
    WHERE id IN (SELECT organization_id FROM bazar.memberships WHERE user_id = %(id)s) ORDER BY id FOR KEY SHARE
"""
_KEEP_ALL_ORGANIZATIONS = """
    SELECT id FROM bazar.organizations
    WHERE id IN (SELECT organization_id FROM bazar.memberships WHERE user_id = ANY(%(ids)s::uuid[]))
    ORDER BY id FOR KEY SHARE
"""
_LOCK_OWNED = """
    SELECT id FROM bazar.organizations WHERE id IN (
        SELECT organization_id FROM bazar.memberships WHERE user_id = %s AND role = 'owner')
    ORDER BY id FOR NO KEY UPDATE
"""
_OWNED_ALONE = """
    SELECT o.slug FROM bazar.memberships m JOIN bazar.organizations o ON o.id = m.organization_id
    WHERE m.user_id = %(id)s AND m.role = 'owner' AND NOT EXISTS (
        SELECT 1 FROM bazar.memberships n JOIN bazar.users u ON u.id = n.user_id
        WHERE n.organization_id = m.organization_id AND n.role = 'owner' AND n.user_id <> %(id)s
          AND u.state = 'active' AND coalesce(u.pending <> ALL (%(being_created_or_deleted)s), true))
    ORDER BY o.slug
"""
_FEW = 5_000
"""Below this many members, sorting all of them is faster than a scan of a million users in order."""
_BATCH = 1000
"""Users that an export holds in memory."""
_SORT_KEYS: Mapping[UserSort, tuple[LiteralString, LiteralString]] = {
    UserSort.CREATED: ("u.created_at", "timestamptz"),
    UserSort.EMAIL: ("u.email", "text"),
}


@dataclass(frozen=True)
class LockedUser:
    """A user row locked for the transaction: with all memberships, seen or not, and its lease."""

    user: User
    leased: bool
    """Another command is in the middle of it."""
    adopted: bool
    """The identity was at Supabase first, and the row took its id."""


def find(connection: Connection, reach: Reach, reference: str) -> User | None:
    """Return the user by id or email, None if the operator can see none."""
    statement, values = _reached(reach)
    column, value = _by(reference)
    return fetch_one(connection, _user, f"{statement} AND {column}", {**values, **value})


def seen(connection: Connection, reach: Reach, user_id: uuid.UUID) -> User:
    """Return a locked user with only the memberships that the operator can see."""
    found = find(connection, reach, str(user_id))
    assert found is not None, "the operator can see a user whom they could lock"
    return found


def is_there(connection: Connection, user_id: uuid.UUID) -> bool:
    """Say whether a user has this id, seen or not: for what an identity at Supabase is to this Bazar."""
    return fetch_value(connection, "SELECT EXISTS (SELECT 1 FROM bazar.users WHERE id = %s)", (user_id,))


def find_with_all_memberships(connection: Connection, reach: Reach, reference: str) -> User | None:
    """Return a user that the operator can see, with all memberships: for the row rules of a command that reads."""
    found = find(connection, reach, reference)
    return None if found is None else _held(connection, found.id).user


def with_all_memberships(connection: Connection, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, User]:
    """Return users by their ids, with all memberships: for the row rules, of users that the operator can see."""
    everyone = _COLUMNS.format(lease="", memberships=_MEMBERSHIPS)
    found = fetch_all(connection, _user, f"{everyone} WHERE u.id = ANY(%s::uuid[])", (list(ids),))
    return {user.id: user for user in found}


def lock(connection: Connection, reach: Reach, reference: str) -> LockedUser | None:
    """Lock the user by id or email until the transaction ends; None if the operator can see none.

    With a limited reach it also locks the user's organizations, so that none of them is deleted meanwhile.
    Raises: RightsChanged if the operator lost sight of the user meanwhile.
    """
    _, values = _reached(reach)
    where = "" if reach.everything else f"AND {_WITHIN_REACH}"
    column, value = _by(reference)
    query = f"SELECT u.id FROM bazar.users u WHERE {column} {where} FOR UPDATE OF u"  # noqa: S608 - constants
    locked = fetch_value(connection, query, {**values, **value})
    if locked is not None and (reach.everything or locked == reach.user_id):
        return _held(connection, locked)
    if locked is not None:
        connection.execute(_KEEP_ORGANIZATIONS, {"id": locked})
        held = _held(connection, locked)
        if not reach.organization_ids.isdisjoint(m.organization_id for m in held.user.organizations):
            return held
    if not reach.everything:
        theirs = fetch_values(connection, f"{_ORGANIZATIONS_OF} {column}", value)
        operator_rights.compare_reach(connection, reach, theirs)
    return None


def lock_all(connection: Connection, reach: Reach, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, LockedUser]:
    """Lock users by their ids until the transaction ends; return those that the operator can see.

    With a limited reach it also locks their organizations, as `lock` does.
    """
    values = {"ids": list(ids)}
    connection.execute("SELECT 1 FROM bazar.users WHERE id = ANY(%(ids)s::uuid[]) ORDER BY id FOR UPDATE", values)
    if not reach.everything:
        connection.execute(_KEEP_ALL_ORGANIZATIONS, values)
    locked = fetch_all(connection, _locked_user, f"{_LOCKED} WHERE u.id = ANY(%(ids)s::uuid[])", values)
    return {
        held.user.id: held
        for held in locked
        if reach.everything or not reach.organization_ids.isdisjoint(m.organization_id for m in held.user.organizations)
    }


def lock_by_email(connection: Connection, email: str) -> LockedUser | None:
    """Lock the user with this email, seen or not: for the uniqueness of addresses."""
    locked = fetch_value(connection, "SELECT id FROM bazar.users WHERE lower(email) = %s FOR UPDATE", (email,))
    return None if locked is None else _held(connection, locked)


def lock_by_id(connection: Connection, user_id: uuid.UUID) -> LockedUser | None:
    """Lock the user with this id, to finish what this command began."""
    locked = fetch_value(connection, "SELECT id FROM bazar.users WHERE id = %s FOR UPDATE", (user_id,))
    return None if locked is None else _held(connection, locked)


def user_being_created_or_deleted_in(connection: Connection, organization_id: uuid.UUID) -> LockedUser | None:
    """Return, without a lock, a member of an organization who is being created or deleted; None without one."""
    query = """
        SELECT u.id FROM bazar.users u JOIN bazar.memberships m ON m.user_id = u.id
        WHERE u.pending = ANY (%s) AND m.organization_id = %s ORDER BY u.email LIMIT 1
    """
    found = fetch_value(connection, query, ([p.value for p in BEING_CREATED_OR_DELETED], organization_id))
    return None if found is None else _held(connection, found)


def page(connection: Connection, reach: Reach, request: ListUsers, organization_id: uuid.UUID | None) -> Page[User]:
    """Return one page by key, so that every page costs the same (docs/architecture.md).

    Raises: UsageError `list.cursor_invalid`.
    """
    visible = _listed(connection, reach)
    values = visible.values
    key, kind = _SORT_KEYS[request.sort]
    filters: list[LiteralString] = []
    if organization_id is not None:
        filters.append(
            "EXISTS (SELECT 1 FROM bazar.memberships f WHERE f.user_id = u.id AND f.organization_id = %(in_org)s)"
        )
        values["in_org"] = organization_id
    if request.plan is not None:
        filters.append("u.plan = %(plan)s")
        values["plan"] = request.plan.value
    if request.state is not None:
        filters.append("u.state = %(state)s")
        values["state"] = request.state.value
    if request.search:
        # A name that another program stored may be decomposed, which looks the same.
        forms = {composed(request.search.lower()), decomposed(request.search.lower())}
        filters.append("(u.email LIKE ANY (%(search)s) OR u.name ILIKE ANY (%(search)s))")
        values["search"] = [f"%{_escaped(form)}%" for form in sorted(forms)]
    if request.created_since is not None:
        filters.append("u.created_at >= %(since)s")
        values["since"] = request.created_since
    if request.cursor is not None:
        by_time = request.sort is UserSort.CREATED
        after = decode(request.cursor, request.sort.value, by_time=by_time, sortable=True)
        filters.append(f"({key}, u.id) > (%(after_key)s::{kind}, %(after_id)s::uuid)")
        values |= {"after_key": after.key, "after_id": after.id}
    where = "".join(f" AND {f}" for f in filters)
    query = f"{visible.statement}{where} ORDER BY {key}, u.id LIMIT %(limit)s"
    rows = fetch_all(connection, _user, query, {**values, "limit": request.limit + 1})
    users = tuple(rows[: request.limit])
    if len(rows) <= request.limit:
        return Page(users, None)
    last = users[-1]
    value = last.email if request.sort is UserSort.EMAIL else last.created_at
    return Page(users, encode(Position(request.sort.value, value, last.id)))


def stream(connection: Connection, reach: Reach) -> Iterator[tuple[User, ...]]:
    """Yield all users that the operator can see, the oldest first, through a cursor of the server."""
    visible = _listed(connection, reach)
    query = f"{visible.statement} ORDER BY u.created_at, u.id"
    yield from map(tuple, fetch_batches(connection, _user, query, visible.values, batch=_BATCH))


def texts(connection: Connection, reach: Reach, wanted: WantedRows) -> Iterator[WrittenRows]:
    """Yield the users of `stream` in the same order, as text that Postgres writes."""
    from bazar_cli.adapters.postgres.row_texts import Columns, fetch_texts, identifier, moment, number, objects, text

    visible = _listed(connection, reach)
    member: Columns = {"id": identifier("o.id"), "slug": text("o.slug"), "role": text("m.role")}
    columns: Columns = {
        "id": identifier("u.id"),
        "email": text("u.email"),
        "name": text("u.name"),
        "plan": text("u.plan"),
        "state": text("u.state"),
        "pending": text("u.pending"),
        "is_superuser": number("u.is_superuser"),
        "organizations": objects(member, "o.slug || ':' || m.role", visible.memberships, order="o.slug"),
        "created_at": moment("u.created_at"),
        "updated_at": moment("u.updated_at"),
    }
    rows: LiteralString = f"FROM bazar.users u WHERE {visible.where} ORDER BY u.created_at, u.id"
    return fetch_texts(connection, wanted, columns, rows, visible.values)


def deployment(connection: Connection) -> uuid.UUID:
    """Return the marker's id, which stamps the identities of this deployment. Raises: Conflict `db.no_marker`."""
    found = fetch_value(connection, "SELECT id FROM bazar.deployment")
    if found is None:
        from bazar_cli.domain.db.marker import no_marker

        raise no_marker()
    return found


def organizations_owned_alone(connection: Connection, user_id: uuid.UUID) -> tuple[str, ...]:
    """Return the slugs of the organizations whose only active owner this user is.

    An owner who is being created or deleted does not count. The organizations are locked as for a change of roles;
    members may be added meanwhile.
    """
    connection.execute(_LOCK_OWNED, (user_id,))
    values = {"id": user_id, "being_created_or_deleted": [p.value for p in BEING_CREATED_OR_DELETED]}
    return tuple(fetch_values(connection, _OWNED_ALONE, values))


@dataclass(frozen=True)
class _Visible:
    """The SQL of a reach: the rows after FROM for visible memberships, and the condition for visible users."""

    memberships: LiteralString
    where: LiteralString
    values: dict[str, Any]

    @property
    def statement(self) -> LiteralString:
        return f"{_COLUMNS.format(lease='', memberships=self.memberships)} WHERE {self.where}"


def _reached(reach: Reach) -> tuple[LiteralString, dict[str, Any]]:
    """Select the users that the operator can see, with only the memberships that the operator can see."""
    visible = _visible(reach)
    return visible.statement, visible.values


def _visible(reach: Reach) -> _Visible:
    if reach.everything:
        return _Visible(_MEMBERSHIPS, "true", {})
    values = {"oneself": reach.user_id, "organizations": sorted(reach.organization_ids)}
    return _Visible(_SHARED_MEMBERSHIPS, _WITHIN_REACH, values)


def _listed(connection: Connection, reach: Reach) -> _Visible:
    """Return what the operator can see for a list, in the faster way for this number of members."""
    visible = _visible(reach)
    few = not reach.everything and _are_few(connection, visible.values)
    return replace(visible, where=_AMONG_FEW) if few else visible


def _are_few(connection: Connection, values: Mapping[str, Any]) -> bool:
    counted = """
        SELECT count(*) FROM (SELECT 1 FROM bazar.memberships
                              WHERE organization_id = ANY(%(organizations)s::uuid[]) LIMIT %(few)s) AS members
    """
    return fetch_value(connection, counted, {**values, "few": _FEW}) < _FEW


def _by(reference: str) -> tuple[LiteralString, Mapping[str, Any]]:
    """Return the condition for a user's id or email; an email always has an @, an id never has one."""
    try:
        return "u.id = %(ref_id)s", {"ref_id": uuid.UUID(reference)}
    except ValueError:
        if not reference.isascii() or "\0" in reference:
            return "false", {}  # no user has it, and Postgres may refuse it as text
        return "lower(u.email) = %(ref_email)s", {"ref_email": reference.lower()}


def _escaped(search: str) -> str:
    return search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _held(connection: Connection, user_id: uuid.UUID) -> LockedUser:
    [held] = fetch_all(connection, _locked_user, f"{_LOCKED} WHERE u.id = %s", (user_id,))
    return held


def _locked_user(*, leased: bool, adopted: bool, **columns: Any) -> LockedUser:
    return LockedUser(_user(**columns), leased=leased, adopted=adopted)


def _user(
    *, plan: str, state: str, pending: str | None, organizations: list[tuple[str, str, str]] | None, **columns: Any
) -> User:
    return User(
        plan=enum_value(Plan, plan, "users.plan"),
        state=enum_value(UserState, state, "users.state"),
        pending=enum_value(Pending, pending, "users.pending") if pending else None,
        organizations=tuple(
            Membership(uuid.UUID(id_), slug, enum_value(Role, role, "memberships.role"))
            for id_, slug, role in organizations or ()
        ),
        **columns,
    )
