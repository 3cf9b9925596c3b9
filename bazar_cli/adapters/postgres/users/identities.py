"""`auth.*` of Supabase in the same database, where it can be read and is proven to be the same project.

The operator's own session in `auth.sessions` proves that the database belongs to the same project. A database without
it works the same by the Auth API, only slower.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from bazar_cli.adapters.postgres.rows import fetch_all, fetch_value
from bazar_cli.domain.users.identities import StoredIdentity
from bazar_cli.domain.users.sessions import UserSession

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.connections import Connection

# Row security hides rows silently: a filtered table proves nothing and cannot be compared.
_READABLE = """
    SELECT coalesce(bool_and(has_table_privilege(t, 'SELECT') AND NOT row_security_active(t)), false)
           AND count(*) = 2
    FROM (SELECT to_regclass(name) AS t FROM unnest(ARRAY['auth.users', 'auth.sessions']) AS name) AS tables
    WHERE t IS NOT NULL
"""
_MAY_USE_SCHEMA = "SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = 'auth'"
_SESSION = "SELECT EXISTS (SELECT 1 FROM auth.sessions WHERE id = %(id)s)"
# A foreign key deletes the session's rows of refresh_tokens too, independent of the privileges there.
_MAY_DELETE_SESSIONS = "SELECT has_table_privilege('auth.sessions', 'DELETE')"
_END_SESSIONS = "DELETE FROM auth.sessions WHERE user_id = %(user_id)s"
_SIGNED_IN = "SELECT last_sign_in_at IS NOT NULL FROM auth.users WHERE id = %(user_id)s"
_STORED = """
    SELECT id, lower(coalesce(email, '')) AS email, lower(raw_app_meta_data -> 'bazar' ->> 'deployment') AS deployment,
           last_sign_in_at IS NOT NULL AS has_signed_in, banned_until, deleted_at IS NOT NULL AS is_deleted, created_at,
           updated_at
    FROM auth.users WHERE email = ANY(%(emails)s::text[]) OR id = ANY(%(ids)s::uuid[])
"""
# `refreshed_at` has no zone and holds UTC; `ip` is an inet, read without its mask.
_SESSIONS_OF = """
    SELECT id, created_at, refreshed_at AT TIME ZONE 'UTC' AS refreshed_at, user_agent, host(ip) AS ip,
           CAST(aal AS text) AS aal, not_after, id = %(own)s AS current
    FROM auth.sessions WHERE user_id = %(user_id)s ORDER BY created_at DESC, id
"""


def readable(connection: Connection, session_id: str | None) -> bool:
    """Say whether `auth.*` of this database can be read and holds the operator's session, `Grant.session_id`."""
    try:
        wanted = uuid.UUID(session_id or "")
    except ValueError:
        return False
    return is_there(connection) and fetch_value(connection, _SESSION, {"id": wanted})


def is_there(connection: Connection) -> bool:
    """Say whether `auth.*` can be read here, of whichever project it is."""
    return bool(fetch_value(connection, _MAY_USE_SCHEMA)) and fetch_value(connection, _READABLE)


def stored(connection: Connection, emails: Collection[str], ids: Collection[uuid.UUID]) -> list[StoredIdentity]:
    """Return the identities with one of these addresses or ids. Requires that `readable` returned True."""
    return fetch_all(connection, _identity, _STORED, {"emails": sorted(emails), "ids": list(ids)})


def has_signed_in(connection: Connection, user_id: uuid.UUID) -> bool | None:
    """Say whether an identity ever signed in, None without one. Requires that `readable` returned True."""
    return fetch_value(connection, _SIGNED_IN, {"user_id": user_id})


def sessions_of(connection: Connection, user_id: uuid.UUID, own: uuid.UUID) -> tuple[UserSession, ...]:
    """Return the sessions of an identity, the newest first. Requires that `readable` returned True.

    Parameters: `own` is the operator's session.
    """
    return tuple(fetch_all(connection, UserSession, _SESSIONS_OF, {"user_id": user_id, "own": own}))


def may_end_sessions(connection: Connection, session_id: str | None) -> bool:
    """Say whether `auth.sessions` is readable, as `readable` proves, and its rows may be deleted."""
    return readable(connection, session_id) and fetch_value(connection, _MAY_DELETE_SESSIONS)


def end_sessions(connection: Connection, user_id: uuid.UUID) -> int:
    """Delete the sessions of an identity, with their refresh tokens; return how many there were.

    Supabase Auth does the same when a user signs out everywhere (Supabase Auth v2.196). Requires that
    `may_end_sessions` returned True.
    """
    return connection.execute(_END_SESSIONS, {"user_id": user_id}).rowcount


def _identity(*, deployment: str | None, **columns: Any) -> StoredIdentity:
    return StoredIdentity(deployment=_uuid(deployment), **columns)


def _uuid(written: str | None) -> uuid.UUID | None:
    """The deployment of a stamp, in the one form that bazar writes; others can write any text there."""
    try:
        found = uuid.UUID(written or "")
    except ValueError:
        return None
    return found if str(found) == written else None
