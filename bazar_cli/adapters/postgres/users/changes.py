"""Writes of users in Postgres: new rows, `pending` with its lease, and single values.

The caller has found and locked the user by `users`, which limits the operator's reach.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.errors import UniqueViolation

from bazar_cli.adapters.postgres.orgs import memberships
from bazar_cli.domain.entities import Pending, Plan, Role, UserState
from bazar_cli.domain.errors import Conflict

if TYPE_CHECKING:
    from typing_extensions import LiteralString

    from bazar_cli.adapters.postgres.connections import Connection

_UNIQUE = frozenset({"users_email_key", "users_pkey"})
LEASE_SECONDS = 20
"""Above the Auth timeout: a command that still runs ends its call before its lease ends."""

_INSERT = """
    INSERT INTO bazar.users (id, email, name, plan, state, pending, lease_owner, lease_until,
                             origin, is_superuser, created_at, updated_at)
    VALUES (%(id)s, %(email)s, %(name)s, %(plan)s, %(state)s, %(pending)s, %(lease)s,
            clock_timestamp() + make_interval(secs => %(seconds)s), %(origin)s, false, now(), now())
"""
_HELD = "id = %(id)s AND pending = %(pending)s AND lease_owner = %(lease)s"


@dataclass(frozen=True)
class NewUser:
    """The row of a user to be."""

    id: uuid.UUID
    email: str
    name: str | None
    plan: Plan
    organization_id: uuid.UUID | None
    role: Role
    pending: Pending = Pending.CREATE
    state: UserState = UserState.ACTIVE
    adopted: bool = False


def insert_pending(connection: Connection, new: NewUser, lease: uuid.UUID) -> None:
    """Insert the row with `pending` and the lease of this command, and the membership.

    Raises: Conflict `users.email_exists` when another command was faster: with the address or, of an identity
    that both adopt, with the id.
    """
    values = {
        "id": new.id,
        "email": new.email,
        "name": new.name,
        "plan": new.plan.value,
        "state": new.state.value,
        "pending": new.pending.value,
        "origin": "adopted" if new.adopted else "created",
        "lease": lease,
        "seconds": LEASE_SECONDS,
    }
    try:
        connection.execute(_INSERT, values)
    except UniqueViolation as error:
        raise _conflict(error, email_taken(new.email)) from error
    if new.organization_id is not None:
        memberships.insert(connection, new.organization_id, new.id, new.role)


def email_taken(email: str, *, creating: bool = True) -> Conflict:
    """The conflict that two users would share an address; addresses are compared in lower case."""
    more = "; --if-not-exists succeeds where you can see the user, with the values given" if creating else ""
    return Conflict(
        "users.email_exists",
        f"a user with the email {email} exists already",
        hint=f"use another address{more}",
        details={"email": email},
    )


def take(connection: Connection, user_id: uuid.UUID, pending: Pending, lease: uuid.UUID) -> None:
    """Write `pending`, with the lease of this command."""
    connection.execute(
        """
        UPDATE bazar.users SET pending = %(pending)s, lease_owner = %(lease)s, updated_at = clock_timestamp(),
               lease_until = clock_timestamp() + make_interval(secs => %(seconds)s)
        WHERE id = %(id)s
        """,
        {"id": user_id, "pending": pending.value, "lease": lease, "seconds": LEASE_SECONDS},
    )


def settle(connection: Connection, user_id: uuid.UUID, pending: Pending, lease: uuid.UUID) -> bool:
    """Clear what was pending once Supabase confirmed it; False when this command no longer holds it."""
    settled = connection.execute(
        f"""
        UPDATE bazar.users SET pending = NULL, lease_owner = NULL, lease_until = NULL, updated_at = clock_timestamp()
        WHERE {_HELD}
        """,  # noqa: S608 - constants
        {"id": user_id, "pending": pending.value, "lease": lease},
    )
    return settled.rowcount == 1


def renew(connection: Connection, user_id: uuid.UUID, pending: Pending, lease: uuid.UUID) -> bool:
    """Renew the lease; False when another command has it, or the row is gone or settled."""
    renewed = connection.execute(
        f"""
        UPDATE bazar.users SET lease_until = clock_timestamp() + make_interval(secs => %(seconds)s)
        WHERE {_HELD}
        """,  # noqa: S608 - constants
        {"id": user_id, "pending": pending.value, "lease": lease, "seconds": LEASE_SECONDS},
    )
    return renewed.rowcount == 1


def release(connection: Connection, user_id: uuid.UUID, lease: uuid.UUID) -> bool:
    """Release the lease and leave `pending` for the next run; return whether this command still held it.

    It waits for the row only for a second: the lease runs out by itself.
    """
    connection.execute("SET LOCAL lock_timeout = '1s'")
    released = connection.execute(
        "UPDATE bazar.users SET lease_owner = NULL, lease_until = NULL WHERE id = %s AND lease_owner = %s",
        (user_id, lease),
    )
    return released.rowcount == 1


def remove(connection: Connection, user_id: uuid.UUID, pending: Pending, lease: uuid.UUID) -> bool:
    """Delete the row with its memberships; False when this command no longer holds it."""
    removed = connection.execute(
        f"""
        WITH doomed AS (SELECT id FROM bazar.users WHERE {_HELD} FOR UPDATE),
        held AS (
            SELECT 1 FROM bazar.memberships WHERE user_id IN (SELECT id FROM doomed)
            ORDER BY organization_id FOR UPDATE
        )
        DELETE FROM bazar.users WHERE id IN (SELECT id FROM doomed) AND (SELECT count(*) FROM held) >= 0
        """,  # noqa: S608 - constants
        {"id": user_id, "pending": pending.value, "lease": lease},
    )
    return removed.rowcount == 1


def rename(connection: Connection, user_id: uuid.UUID, name: str | None) -> None:
    """Write the display name, None for none."""
    _set(connection, user_id, "name", name)


def write_adopted(connection: Connection, user_id: uuid.UUID, lease: uuid.UUID, state: UserState, origin: str) -> None:
    """Write the state and the origin that an identity has at Supabase while this command adopts it."""
    connection.execute(
        "UPDATE bazar.users SET state = %s, origin = %s WHERE id = %s AND lease_owner = %s",
        (state.value, origin, user_id, lease),
    )


def set_superuser(connection: Connection, user_id: uuid.UUID, *, superuser: bool) -> None:
    """Write the superuser flag."""
    _set(connection, user_id, "is_superuser", superuser)


def move(connection: Connection, user_id: uuid.UUID, plan: Plan) -> None:
    """Put a user on a plan."""
    _set(connection, user_id, "plan", plan.value)


def write_state(connection: Connection, user_id: uuid.UUID, state: UserState) -> None:
    """Write the state that is wanted."""
    _set(connection, user_id, "state", state.value)


def write_email(connection: Connection, user_id: uuid.UUID, email: str) -> None:
    """Write the address, in lower case. Raises: Conflict `users.email_exists` when another command was faster."""
    try:
        _set(connection, user_id, "email", email)
    except UniqueViolation as error:
        raise _conflict(error, email_taken(email, creating=False)) from error


def _set(connection: Connection, user_id: uuid.UUID, column: LiteralString, value: object) -> None:
    query = f"UPDATE bazar.users SET {column} = %s, updated_at = clock_timestamp() WHERE id = %s"  # noqa: S608
    connection.execute(query, (value, user_id))


def _conflict(error: UniqueViolation, taken: Conflict) -> Exception:
    """Return `taken` if a unique index of bazar was violated, else the error itself."""
    return taken if error.diag.constraint_name in _UNIQUE else error
