"""`auth.*` of Supabase in the same database, where it can be read and is proven to be the same project.

Which project a database belongs to is proven by the operator's own session, which Supabase Auth keeps in
`auth.sessions`. A server without it works the same by the Auth API, only slower.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection

# Row security would hide rows without a word: what it filters proves nothing and compares nothing.
_READABLE = text(
    """
    SELECT coalesce(bool_and(has_table_privilege(t, 'SELECT') AND NOT row_security_active(t)), false)
           AND count(*) = 2
    FROM (SELECT to_regclass(name) AS t FROM unnest(ARRAY['auth.users', 'auth.sessions']) AS name) AS tables
    WHERE t IS NOT NULL
    """
)
# Its rows of refresh_tokens go with a session by their foreign key, whoever may delete there.
_MAY_DELETE = text("SELECT has_table_privilege('auth.sessions', 'DELETE')")
_END = text("DELETE FROM auth.sessions WHERE user_id = :id")
_MAY_USE_SCHEMA = text("SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = 'auth'")
_SESSION = text("SELECT EXISTS (SELECT 1 FROM auth.sessions WHERE id = :id)")


def readable(connection: Connection, session_id: str | None) -> bool:
    """Say whether `auth.*` of this database can be read and holds the operator's session, `Grant.session_id`."""
    try:
        wanted = uuid.UUID(session_id or "")
    except ValueError:
        return False
    if not connection.execute(_MAY_USE_SCHEMA).scalar_one_or_none():
        return False
    if not connection.execute(_READABLE).scalar_one():
        return False
    return bool(connection.execute(_SESSION, {"id": wanted}).scalar_one())


def may_end_sessions(connection: Connection, session_id: str | None) -> bool:
    """Say whether the sessions of users can be ended here: `auth.*` is readable, and its sessions may be deleted."""
    return readable(connection, session_id) and bool(connection.execute(_MAY_DELETE).scalar_one())


def end_sessions(connection: Connection, user_id: uuid.UUID) -> int:
    """End every session of a user, and with them their refresh tokens; return how many there were.

    The caller has asked `may_end_sessions`.
    """
    return connection.execute(_END, {"id": user_id}).rowcount
