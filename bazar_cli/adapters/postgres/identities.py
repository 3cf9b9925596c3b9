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
