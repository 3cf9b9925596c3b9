"""Users in Postgres, written: new rows, what is pending at Supabase with its lease, and single values.

Whoever calls has found the user within reach, and locked them, by `users`.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from psycopg.errors import UniqueViolation
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from bazar_cli.domain.entities import Pending, Plan, Role, UserState
from bazar_cli.domain.errors import Conflict

_UNIQUE = frozenset({"users_email_key", "users_pkey"})
LEASE_SECONDS = 20
"""Above the Auth timeout: who holds a lease and lives has ended its call before the lease ends."""


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
    """Insert the row with what is pending and the lease of this command, and the membership.

    Raises: Conflict `users.email_exists` when another command was faster: with the address or, of an identity
    that both adopt, with the id.
    """
    try:
        connection.execute(
            text(
                """
                INSERT INTO bazar.users (id, email, name, plan, state, pending, lease_owner, lease_until,
                                         origin, is_superuser, created_at, updated_at)
                VALUES (:id, :email, :name, :plan, :state, :pending, :lease,
                        clock_timestamp() + make_interval(secs => :seconds), :origin, false, now(), now())
                """
            ),
            {
                "id": new.id,
                "email": new.email,
                "name": new.name,
                "plan": new.plan.value,
                "state": new.state.value,
                "pending": new.pending.value,
                "origin": "adopted" if new.adopted else "created",
                "lease": lease,
                "seconds": LEASE_SECONDS,
            },
        )
    except IntegrityError as error:
        if isinstance(error.orig, UniqueViolation) and error.orig.diag.constraint_name in _UNIQUE:
            raise email_taken(new.email) from error
        raise
    if new.organization_id is not None:
        connection.execute(
            text(
                "INSERT INTO bazar.memberships (organization_id, user_id, role, created_at)"
                " VALUES (:organization, :user, :role, now())"
            ),
            {"organization": new.organization_id, "user": new.id, "role": new.role.value},
        )


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
    """Write what is pending at Supabase, and that this command is at it."""
    connection.execute(
        text(
            """
            UPDATE bazar.users SET pending = :pending, lease_owner = :lease, updated_at = clock_timestamp(),
                   lease_until = clock_timestamp() + make_interval(secs => :seconds)
            WHERE id = :id
            """
        ),
        {"id": user_id, "pending": pending.value, "lease": lease, "seconds": LEASE_SECONDS},
    )


def settle(connection: Connection, user_id: uuid.UUID, pending: Pending, lease: uuid.UUID) -> bool:
    """Clear what was pending once Supabase confirmed it; False when this command no longer holds it."""
    changed = connection.execute(
        text(
            """
            UPDATE bazar.users SET pending = NULL, lease_owner = NULL, lease_until = NULL,
                   updated_at = clock_timestamp()
            WHERE id = :id AND pending = :pending AND lease_owner = :lease
            """
        ),
        {"id": user_id, "pending": pending.value, "lease": lease},
    )
    return changed.rowcount == 1


def renew(connection: Connection, user_id: uuid.UUID, pending: Pending, lease: uuid.UUID) -> bool:
    """Let the lease last anew; False when another command has it, or the row is gone or settled."""
    renewed = connection.execute(
        text(
            """
            UPDATE bazar.users SET lease_until = clock_timestamp() + make_interval(secs => :seconds)
            WHERE id = :id AND pending = :pending AND lease_owner = :lease
            """
        ),
        {"id": user_id, "pending": pending.value, "lease": lease, "seconds": LEASE_SECONDS},
    )
    return renewed.rowcount == 1


def release(connection: Connection, user_id: uuid.UUID, lease: uuid.UUID) -> bool:
    """Give the lease back and leave what is pending for the next run; return whether this command still held it.

    No long wait for that: it runs out by itself.
    """
    connection.exec_driver_sql("SET LOCAL lock_timeout = '1s'")
    released = connection.execute(
        text("UPDATE bazar.users SET lease_owner = NULL, lease_until = NULL WHERE id = :id AND lease_owner = :lease"),
        {"id": user_id, "lease": lease},
    )
    return released.rowcount == 1


def remove(connection: Connection, user_id: uuid.UUID, pending: Pending, lease: uuid.UUID) -> bool:
    """Delete the row with its memberships; False when this command no longer holds it."""
    removed = connection.execute(
        text(
            """
            WITH doomed AS (
                SELECT id FROM bazar.users WHERE id = :id AND pending = :pending AND lease_owner = :lease FOR UPDATE
            ),
            held AS (
                SELECT 1 FROM bazar.memberships WHERE user_id IN (SELECT id FROM doomed)
                ORDER BY organization_id FOR UPDATE
            )
            DELETE FROM bazar.users WHERE id IN (SELECT id FROM doomed) AND (SELECT count(*) FROM held) >= 0
            """
        ),
        {"id": user_id, "pending": pending.value, "lease": lease},
    )
    return removed.rowcount == 1


def rename(connection: Connection, user_id: uuid.UUID, name: str | None) -> None:
    """Write the display name, None for none."""
    connection.execute(
        text("UPDATE bazar.users SET name = :name, updated_at = clock_timestamp() WHERE id = :id"),
        {"id": user_id, "name": name},
    )


def write_adopted(connection: Connection, user_id: uuid.UUID, lease: uuid.UUID, state: UserState, origin: str) -> None:
    """Write the state and the origin that an identity has at Supabase while this command adopts it."""
    connection.execute(
        text("UPDATE bazar.users SET state = :state, origin = :origin WHERE id = :id AND lease_owner = :lease"),
        {"id": user_id, "lease": lease, "state": state.value, "origin": origin},
    )


def set_superuser(connection: Connection, user_id: uuid.UUID, *, superuser: bool) -> None:
    """Write the superuser flag."""
    connection.execute(
        text("UPDATE bazar.users SET is_superuser = :superuser, updated_at = clock_timestamp() WHERE id = :id"),
        {"id": user_id, "superuser": superuser},
    )


def move(connection: Connection, user_id: uuid.UUID, plan: Plan) -> None:
    """Put a user on a plan."""
    connection.execute(
        text("UPDATE bazar.users SET plan = :plan, updated_at = clock_timestamp() WHERE id = :id"),
        {"id": user_id, "plan": plan.value},
    )


def write_state(connection: Connection, user_id: uuid.UUID, state: UserState) -> None:
    """Write the state that is wanted."""
    connection.execute(
        text("UPDATE bazar.users SET state = :state, updated_at = clock_timestamp() WHERE id = :id"),
        {"id": user_id, "state": state.value},
    )


def write_email(connection: Connection, user_id: uuid.UUID, email: str) -> None:
    """Write the address, in lower case. Raises: Conflict `users.email_exists` when another command was faster."""
    try:
        connection.execute(
            text("UPDATE bazar.users SET email = :email, updated_at = clock_timestamp() WHERE id = :id"),
            {"id": user_id, "email": email},
        )
    except IntegrityError as error:
        if isinstance(error.orig, UniqueViolation) and error.orig.diag.constraint_name in _UNIQUE:
            raise email_taken(email, creating=False) from error
        raise
