"""The first superuser (docs/decisions/0011-bootstrap.md): claimed under the migration lock, once."""

from __future__ import annotations

import random
import time
import uuid
from typing import TYPE_CHECKING

from sqlalchemy import text

from bazar_cli.adapters.postgres.audit import events
from bazar_cli.adapters.postgres.migration_lock import KEY
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.errors import BackendUnavailable, Conflict

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection, Database

_WAIT_SECONDS = 60.0
_RULED = text(
    "SELECT EXISTS (SELECT 1 FROM bazar.users WHERE is_superuser AND plan = 'premium' AND state = 'active'"
    " AND pending IS DISTINCT FROM 'delete')"
)
_TABLES = text("SELECT to_regclass('bazar.users') IS NOT NULL")
_OTHER_ID = text("SELECT id FROM bazar.users WHERE lower(email) = :email AND id <> :id")
_BEFORE = text("SELECT email, plan, state, pending, is_superuser FROM bazar.users WHERE id = :id FOR UPDATE")
_CLAIM = text(
    """
    INSERT INTO bazar.users (id, email, plan, state, origin, is_superuser)
    VALUES (:id, :email, 'premium', 'active', 'adopted', true)
    ON CONFLICT (id) DO UPDATE SET plan = 'premium', state = 'active', is_superuser = true, pending = NULL,
        lease_owner = NULL, lease_until = NULL, updated_at = now()
    """
)


def claim_superuser(database: Database, grant: Grant, user_id: uuid.UUID, email: str) -> bool:
    """Make the verified SUPERUSER_EMAIL a superuser on Premium with Supabase's id, if there is none yet.

    Returns False when a superuser exists. Raises: BackendUnavailable `db.lock_timeout`; Conflict
    `users.email_exists` when the address belongs to a row with another id.
    """
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        with database.transaction(grant) as connection:
            # Shares its key with the migrators' session lock; transaction-level, it works through a pooler.
            if connection.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": KEY}).scalar_one():
                return _claim(connection, grant, user_id, email)
        if time.monotonic() > deadline:
            raise BackendUnavailable(
                "db.lock_timeout",
                "a migration holds the lock that the first superuser needs",
                hint="wait for it and try again",
            )
        time.sleep(random.uniform(0.1, 0.4))  # noqa: S311 - jitter, no secret


def refuse_ruled(connection: Connection, grant: Grant) -> None:
    """Make sure, for a bootstrap Grant, that there is still no superuser. Raises: Conflict `access.changed`."""
    if connection.execute(_TABLES).scalar_one() and connection.execute(_RULED).scalar_one():
        raise Conflict(
            "access.changed",
            f"a superuser came while the command ran: {grant.operator.email} has no rights by being SUPERUSER_EMAIL any"
            " more, and nothing was written",
            hint="run it again",
        )


def refuse_other_id(connection: Connection, user_id: uuid.UUID, email: str) -> None:
    """Make sure that no user has the address with another id. Raises: Conflict `users.email_exists`."""
    if not connection.execute(_TABLES).scalar_one():
        return
    other = connection.execute(_OTHER_ID, {"id": user_id, "email": email}).scalar_one_or_none()
    if other is not None:
        raise Conflict(
            "users.email_exists",
            f"{email} is in Postgres with the id {other}, at Supabase with the id {user_id}: it is made no superuser",
            hint="set another SUPERUSER_EMAIL; or, if nobody needs the identity at Supabase, delete it there and run it"
            " again, which makes it anew with the id of Postgres where that is free",
            details={"postgres_id": str(other), "supabase_id": str(user_id)},
        )


def _claim(connection: Connection, grant: Grant, user_id: uuid.UUID, email: str) -> bool:
    if connection.execute(_RULED).scalar_one():
        return False
    refuse_other_id(connection, user_id, email)
    found = connection.execute(_BEFORE, {"id": user_id}).mappings().one_or_none()
    connection.execute(_CLAIM, {"id": user_id, "email": email})
    after: dict[str, object] = {"email": email, "plan": "premium", "is_superuser": True}
    if found is not None:
        # Somebody who was no superuser in service, or none at all: what they were is part of what was done.
        after |= {"email": found["email"], "state": "active", "pending": None}
    change = events.Change("user", user_id, before=dict(found) if found else None, after=after, reason="bootstrap")
    events.record(connection, grant, change)
    return True
