"""A database of a million users: written by SQL, as no command could in a minute."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

import psycopg

from bazar_cli.adapters.postgres.cursors import Position, encode
from bazar_cli.domain.users.users import UserSort

SMALL = 20
"""Members of a common organization."""
_IN_ORGANIZATIONS = 5
"""One user in this many belongs to an organization."""
_LARGE = 10
"""One user in this many belongs to the large organization."""
_PREMIUM, _PLUS = 50, 8
_SUSPENDED = 1000
DELETIONS = 50_000
"""This many users are deleted: one half was in one organization of twenty, the others were in any."""
_SAME_MOMENT = 20
"""This many users in a row were created at the same microsecond, as a bulk import does."""

_USERS = """
    INSERT INTO bazar.users (id, email, name, plan, state, created_at, updated_at)
    SELECT gen_random_uuid(), 'user' || lpad((n::bigint * 7919 %% %(count)s)::text, 8, '0') || '@crowd.example.com',
           'User ' || n,
           CASE WHEN n %% %(premium)s = 0 THEN 'premium' WHEN n %% %(plus)s = 0 THEN 'plus' ELSE 'free' END,
           CASE WHEN n %% %(suspended)s = 0 THEN 'suspended' ELSE 'active' END, moment, moment
    FROM generate_series(1, %(count)s) AS n,
         LATERAL (SELECT timestamptz '2020-01-01Z' + n / %(same)s * interval '137 seconds' AS moment) AS m
"""
_ORGANIZATIONS = """
    INSERT INTO bazar.organizations (id, slug, name)
    SELECT gen_random_uuid(), 'crowd-' || n, 'Crowd ' || n FROM generate_series(0, %(organizations)s) AS n
"""
# Number 0 is the large one; the others have their members side by side.
_MEMBERS = """
    INSERT INTO bazar.memberships (organization_id, user_id, role)
    SELECT o.id, u.id, CASE WHEN (u.number / %(every)s) %% %(small)s = 0 THEN 'owner' ELSE 'member' END
    FROM (SELECT id, row_number() OVER (ORDER BY created_at, id) AS number FROM bazar.users
          WHERE email LIKE 'user%%@crowd.example.com') AS u
    JOIN bazar.organizations o ON o.slug = 'crowd-' || (u.number / %(every)s / %(small)s + 1)
    WHERE u.number %% %(every)s = 0
"""
_LARGE_MEMBERS = """
    INSERT INTO bazar.memberships (organization_id, user_id, role)
    SELECT o.id, u.id, 'member' FROM bazar.users u, bazar.organizations o
    WHERE o.slug = 'crowd-0' AND u.email LIKE 'user%%@crowd.example.com'
      AND ('x' || right(u.id::text, 6))::bit(24)::int %% %(large)s = 0
"""
_DELETED = """
    INSERT INTO bazar.audit_events (id, operator_id, operator_email, use_case, outcome, target_type, target_id, before,
                                    request_id, occurred_at)
    SELECT gen_random_uuid(), %(operator)s, 'root@crowd.example.com', 'users.delete', 'done', 'user',
           gen_random_uuid(), jsonb_build_object(
               'email', 'gone' || n || '@crowd.example.com', 'name', 'Gone ' || n, 'plan', 'free', 'organizations',
               jsonb_build_array(jsonb_build_object('id', o.id, 'slug', o.slug, 'role', 'member'))),
           md5(n::text), now() - (%(deletions)s - n) * interval '137 seconds'
    FROM generate_series(1, %(deletions)s) AS n
    JOIN bazar.organizations o
        ON o.slug = 'crowd-' || CASE WHEN n %% 2 = 0 THEN 8 ELSE n * 7919::bigint %% %(organizations)s + 1 END
"""


@dataclass(frozen=True)
class ManyUsers:
    """What the measured commands ask for."""

    users: int
    some_email: str
    some_id: uuid.UUID
    small: str
    """The slug of an organization of twenty."""
    large: str
    """The slug of an organization of a tenth of all users."""
    left: str
    """The slug of an organization of twenty that half of all deleted users were in."""
    cursors: dict[tuple[UserSort, int], str]
    """Where a page of fifty starts, by order and number."""


def fill(database_url: str, users: int, pages: tuple[int, ...]) -> ManyUsers:
    """Fill the database; return what to ask for."""
    values = {
        "count": users,
        "premium": _PREMIUM,
        "plus": _PLUS,
        "suspended": _SUSPENDED,
        "same": _SAME_MOMENT,
        "organizations": users // _IN_ORGANIZATIONS // SMALL + 1,
        "every": _IN_ORGANIZATIONS,
        "small": SMALL,
        "large": _LARGE,
        "deletions": DELETIONS,
        "operator": uuid.uuid4(),
    }
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in (_USERS, _ORGANIZATIONS, _MEMBERS, _LARGE_MEMBERS, _DELETED):
            connection.execute(statement.encode(), values)
        connection.execute("VACUUM (ANALYZE)")
        cursors = {(sort, page): _cursor(connection, sort, page) for sort in UserSort for page in pages if page > 1}
        row = connection.execute(
            "SELECT id, email FROM bazar.users ORDER BY created_at, id OFFSET %s LIMIT 1", (users // 2,)
        ).fetchone()
        assert row is not None
        return ManyUsers(users, row[1], row[0], "crowd-7", "crowd-0", "crowd-8", cursors)


def _cursor(connection: psycopg.Connection, sort: UserSort, page: int) -> str:
    key = "email" if sort is UserSort.EMAIL else "created_at"
    row = connection.execute(
        f"SELECT {key}, id FROM bazar.users ORDER BY {key}, id OFFSET %s LIMIT 1".encode(),  # noqa: S608 - constants
        (50 * (page - 1) - 1,),
    ).fetchone()
    assert row is not None, f"there is no page {page}"
    value = row[0].isoformat() if isinstance(row[0], datetime) else str(row[0])
    return encode(Position(sort.value, value, row[1]))
