"""Identities: rows of `auth.users` and `auth.identities`, and their JSON."""

from __future__ import annotations

import re
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from bazar_cli.devstack.auth.durations import InvalidDuration, seconds_of
from bazar_cli.devstack.auth.errors import DatabaseFault, Fault, validation_failed
from bazar_cli.devstack.auth.pool import Rows, one

INSTANCE = "00000000-0000-0000-0000-000000000000"
_EMAIL_MAX = 255
_EMAIL = re.compile(
    r"[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+"
    r"@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)
_OPTIONAL = (
    "email_confirmed_at",
    "invited_at",
    "phone_confirmed_at",
    "confirmation_sent_at",
    "confirmed_at",
    "recovery_sent_at",
    "email_change_sent_at",
    "last_sign_in_at",
    "banned_until",
    "deleted_at",
)
EMAIL_EXISTS = "A user with this email address has already been registered"


def now() -> datetime:
    """Return the time of the service's only clock."""
    return datetime.now(timezone.utc)


def checked_email(text: str) -> str:
    """Return the address in lower case. Raises: Fault 400 with the server's messages (recorded)."""
    if not text:
        raise validation_failed("An email address is required")
    if len(text) > _EMAIL_MAX:
        raise validation_failed("An email address is too long")
    if not _EMAIL.fullmatch(text):
        raise validation_failed("Unable to validate email address: invalid format")
    return text.lower()


def email_exists() -> Fault:
    """Return the error for a taken address, where the server looks before it writes."""
    return Fault(422, "email_exists", EMAIL_EXISTS)


def ban_end(duration: str) -> datetime | None:
    """Return the end of a ban, None for `none`. Raises: Fault 400 with Go's message."""
    if duration == "none":
        return None
    try:
        return now() + timedelta(seconds=seconds_of(duration))
    except InvalidDuration as error:
        raise validation_failed(f"invalid format for ban duration: {error}") from error


def by_id(connection: Rows, user_id: uuid.UUID, *, lock: bool = False) -> dict[str, Any] | None:
    """Return the row with this id."""
    tail = " FOR UPDATE" if lock else ""
    return one(connection, f"SELECT * FROM auth.users WHERE id = %s AND instance_id = '{INSTANCE}'{tail}", user_id)  # noqa: S608


def by_email(connection: Rows, email: str) -> dict[str, Any] | None:
    """Return the row with this address in lower case."""
    return one(
        connection,
        f"SELECT * FROM auth.users WHERE instance_id = '{INSTANCE}' AND lower(email) = %s AND NOT is_sso_user",  # noqa: S608
        email,
    )


def insert(connection: Rows, columns: dict[str, Any]) -> dict[str, Any]:
    """Insert a user with its email identity, and return the row before its generated columns are set.

    Raises: DatabaseFault 500 for a taken id or, in a race, a taken address.
    """
    moment = now()
    row: dict[str, Any] = {
        "instance_id": INSTANCE,
        "aud": "authenticated",
        "role": "authenticated",
        "confirmation_token": "",
        "recovery_token": "",
        "email_change_token_new": "",
        "email_change": "",
        "created_at": moment,
        "updated_at": moment,
        **columns,
    }
    names = ", ".join(row)
    marks = ", ".join(["%s"] * len(row))
    values = [Jsonb(v) if isinstance(v, dict) else v for v in row.values()]
    try:
        connection.execute(f"INSERT INTO auth.users ({names}) VALUES ({marks})".encode(), values)  # noqa: S608
    except psycopg.errors.UniqueViolation as error:
        raise DatabaseFault(error, "Database error creating new user") from error
    user_id, email = str(row["id"]), row["email"]
    data = {"sub": user_id, "email": email, "email_verified": False, "phone_verified": False}
    connection.execute(
        b"INSERT INTO auth.identities (provider_id, user_id, identity_data, provider, last_sign_in_at, created_at,"
        b" updated_at) VALUES (%s, %s, %s, 'email', %s, %s, %s)",
        (user_id, row["id"], Jsonb(data), moment, moment, moment),
    )
    inserted = by_id(connection, row["id"])
    assert inserted is not None, "it was inserted by this transaction"
    # The real server returns the values that it wrote, before the generated column is known (recorded).
    return {**inserted, "confirmed_at": None}


def update(connection: Rows, user: dict[str, Any], columns: dict[str, Any]) -> dict[str, Any]:
    """Change columns of a user, and return the row with the old value of its generated column (recorded)."""
    changes = {**columns, "updated_at": now()}
    assignments = ", ".join(f"{name} = %s" for name in changes)
    values = [Jsonb(v) if isinstance(v, dict) else v for v in changes.values()]
    try:
        connection.execute(
            f"UPDATE auth.users SET {assignments} WHERE id = %s".encode(),  # noqa: S608 - names are ours
            (*values, user["id"]),
        )
    except psycopg.errors.UniqueViolation as error:
        raise DatabaseFault(error, "Error updating user") from error
    return {**user, **changes}


def merged(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    """Return both metadata objects, merged key by key. A null removes a key."""
    both = {**(old or {}), **new}
    return {name: value for name, value in both.items() if value is not None}


def verify_identity(connection: Rows, user_id: uuid.UUID) -> None:
    """Mark the address of the email identity as verified."""
    connection.execute(
        b"UPDATE auth.identities SET identity_data = identity_data || '{\"email_verified\": true}', updated_at = %s"
        b" WHERE user_id = %s AND provider = 'email'",
        (now(), user_id),
    )


def to_json(connection: Rows | None, user: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of a user. Without a connection, as in lists, identities are null."""
    shown: dict[str, Any] = {
        "id": str(user["id"]),
        "aud": user["aud"],
        "role": user["role"],
        "email": user["email"] or "",
        "phone": user["phone"] or "",
        "app_metadata": user["raw_app_meta_data"] or {},
        "user_metadata": user["raw_user_meta_data"] or {},
        "identities": None if connection is None else _identities(connection, user["id"]),
        "created_at": _time(user["created_at"]),
        "updated_at": _time(user["updated_at"]),
        "is_anonymous": user["is_anonymous"],
    }
    shown |= {name: _time(user[name]) for name in _OPTIONAL if user[name] is not None}
    if user["email_change"]:
        shown["new_email"] = user["email_change"]
    return shown


def _identities(connection: Rows, user_id: uuid.UUID) -> list[dict[str, Any]]:
    rows = connection.execute(b"SELECT * FROM auth.identities WHERE user_id = %s ORDER BY created_at", (user_id,))
    return [
        {
            "identity_id": str(row["id"]),
            "id": row["provider_id"],
            "user_id": str(row["user_id"]),
            "identity_data": row["identity_data"],
            "provider": row["provider"],
            "last_sign_in_at": _time(row["last_sign_in_at"]),
            "created_at": _time(row["created_at"]),
            "updated_at": _time(row["updated_at"]),
            "email": row["email"],
        }
        for row in rows
    ]


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
