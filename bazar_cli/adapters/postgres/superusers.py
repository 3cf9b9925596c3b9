"""Active superusers on Premium: how SQL finds them, and the claim of the first one (decision 0011)."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from bazar_cli.adapters.polling import poll
from bazar_cli.adapters.postgres.rows import fetch_one, fetch_value, fetch_values
from bazar_cli.domain.errors import BackendUnavailable, Conflict

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.connections import Connection
    from bazar_cli.adapters.postgres.database import Database
    from bazar_cli.domain.authz.spec import Grant

ACTIVE = "state = 'active' AND pending IS DISTINCT FROM 'delete'"
"""The condition on a user who counts as active (docs/permissions.md): a user who is being deleted does not."""
ACTIVE_SUPERUSER = f"is_superuser AND plan = 'premium' AND {ACTIVE}"
"""The condition on an active superuser on Premium, for `bazar.users` and the view `bazar.operators`."""

_CLAIM_SECONDS = 60.0
_REMOVAL_KEY = 0x62617A6172_01
"""The advisory lock of a command that takes a superuser out of service."""
_EXISTS = f"SELECT EXISTS (SELECT 1 FROM bazar.users WHERE {ACTIVE_SUPERUSER})"  # noqa: S608 - constants
_IS_ONE = f"SELECT EXISTS (SELECT 1 FROM bazar.users WHERE {ACTIVE_SUPERUSER} AND id = %s)"  # noqa: S608 - constants
_VIEW = "SELECT to_regclass('bazar.operators') IS NOT NULL"
_TABLES = "SELECT to_regclass('bazar.users') IS NOT NULL"
_CLAIM = """
    INSERT INTO bazar.users (id, email, plan, state, origin, is_superuser)
    VALUES (%(id)s, %(email)s, 'premium', 'active', 'adopted', true)
    ON CONFLICT (id) DO UPDATE SET plan = 'premium', state = 'active', is_superuser = true, pending = NULL,
        lease_owner = NULL, lease_until = NULL, updated_at = now()
"""


def count_active(connection: Connection) -> int:
    """Count the active superusers on Premium."""
    return fetch_value(connection, f"SELECT count(*) FROM bazar.users WHERE {ACTIVE_SUPERUSER}")  # noqa: S608


def all_active(connection: Connection) -> frozenset[uuid.UUID]:
    """Return the ids of the active superusers on Premium."""
    query = f"SELECT id FROM bazar.users WHERE {ACTIVE_SUPERUSER}"  # noqa: S608
    return frozenset(fetch_values(connection, query))


def count_other_active(connection: Connection, user_id: uuid.UUID) -> int:
    """Count the active superusers on Premium other than this user, and keep them until the transaction ends.

    All commands that remove one take an advisory lock for it: the rows of the others are locked by their own commands.
    """
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_REMOVAL_KEY,))
    query = f"SELECT count(*) FROM bazar.users WHERE {ACTIVE_SUPERUSER} AND id <> %s"  # noqa: S608
    return fetch_value(connection, query, (user_id,))


def claim_first(database: Database, grant: Grant, user_id: uuid.UUID, email: str) -> bool:
    """Make the verified SUPERUSER_EMAIL a superuser on Premium with Supabase's id, if there is no superuser yet.

    Returns False when a superuser exists. Raises: BackendUnavailable `db.lock_timeout`; Conflict
    `users.email_exists` when the address belongs to a row with another id.
    """
    from bazar_cli.adapters.postgres.migration_lock import KEY

    def attempt() -> tuple[bool] | None:
        with database.transaction(grant) as connection:
            # Shares its key with the migrators' session lock; transaction-level, it works through a pooler.
            is_locked = fetch_value(connection, "SELECT pg_try_advisory_xact_lock(%s)", (KEY,))
            return (_claim(connection, grant, user_id, email),) if is_locked else None

    ended = poll(attempt, seconds=_CLAIM_SECONDS, pause=(0.1, 0.4))
    if ended is None:
        raise BackendUnavailable(
            "db.lock_timeout",
            "a migration holds the lock that the first superuser needs",
            hint="wait for it and try again",
        )
    return ended[0]


def refuse_if_one_exists(connection: Connection, grant: Grant) -> None:
    """Make sure, for a bootstrap Grant, that no superuser exists but the operator.

    The gate opens bootstrap where the view `bazar.operators` is missing, so the table may have superusers.
    Raises: Conflict `access.changed`, `db.superuser_exists`; psycopg.Error where row security may hide superusers.
    """
    if not fetch_value(connection, _TABLES):
        return
    has_view = fetch_value(connection, _VIEW)
    if not has_view:
        # The view proves to the gate that nothing is hidden. Without it Postgres raises instead of hiding rows.
        connection.execute("SET LOCAL row_security = off")
    if not fetch_value(connection, _EXISTS):
        return
    if has_view:
        raise Conflict(
            "access.changed",
            f"a superuser was created while the command ran: {grant.operator.email} has no rights as SUPERUSER_EMAIL"
            " any more, and nothing was written",
            hint="run it again",
        )
    if not fetch_value(connection, _IS_ONE, (grant.operator.id,)):
        raise Conflict(
            "db.superuser_exists",
            "the view bazar.operators is missing, but the table bazar.users has an active superuser:"
            f" {grant.operator.email} is not one, and has no rights as SUPERUSER_EMAIL. Nothing was written",
            hint="set SUPERUSER_EMAIL to the address of an active superuser on Premium, sign in as that user, and run"
            " it again; or make the view again as migrations/versions does",
        )


def refuse_other_id(connection: Connection, user_id: uuid.UUID, email: str) -> None:
    """Make sure that no user has the address with another id. Raises: Conflict `users.email_exists`."""
    if not fetch_value(connection, _TABLES):
        return
    other = fetch_value(connection, "SELECT id FROM bazar.users WHERE lower(email) = %s AND id <> %s", (email, user_id))
    if other is not None:
        raise Conflict(
            "users.email_exists",
            f"{email} has the id {other} in Postgres and the id {user_id} at Supabase: it does not become a superuser",
            hint="set another SUPERUSER_EMAIL; or, if the identity at Supabase is not needed, delete it there and run"
            " this again: it is then created with the id of Postgres, if that id is free",
            details={"postgres_id": str(other), "supabase_id": str(user_id)},
        )


def _claim(connection: Connection, grant: Grant, user_id: uuid.UUID, email: str) -> bool:
    from bazar_cli.adapters.postgres.audit import events

    if fetch_value(connection, _EXISTS):
        return False
    refuse_other_id(connection, user_id, email)
    before = fetch_one(
        connection,
        dict[str, object],
        "SELECT email, plan, state, pending, is_superuser FROM bazar.users WHERE id = %s FOR UPDATE",
        (user_id,),
    )
    connection.execute(_CLAIM, {"id": user_id, "email": email})
    after: dict[str, object] = {"email": email, "plan": "premium", "is_superuser": True}
    if before is not None:
        # The row was of a user who is no active superuser: what it held belongs to the event.
        after |= {"email": before["email"], "state": "active", "pending": None}
    change = events.Change("user", user_id, before=before, after=after, reason="bootstrap")
    events.record(connection, grant, change)
    return True
