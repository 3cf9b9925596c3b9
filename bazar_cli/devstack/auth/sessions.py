"""Sessions and refresh tokens: rotation, the reuse interval, revocation on reuse (Supabase Auth v2.196)."""

from __future__ import annotations

import secrets
import string
import uuid
from collections.abc import Mapping
from datetime import timedelta, timezone
from typing import Any

from bazar_cli.devstack.auth.config import AuthConfig
from bazar_cli.devstack.auth.errors import Fault, validation_failed
from bazar_cli.devstack.auth.pool import Rows, one
from bazar_cli.devstack.auth.tokens import Tokens
from bazar_cli.devstack.auth.users import INSTANCE, by_id, now, to_json, update

_ALPHABET = string.ascii_lowercase + string.digits
_LENGTH = 12


def start(
    connection: Rows, config: AuthConfig, tokens: Tokens, user: dict[str, Any], method: str, client: Mapping[str, str]
) -> dict[str, Any]:
    """Begin a session and return the token answer. `client` has `ip` and `user_agent`."""
    moment = now()
    user = update(connection, user, {"last_sign_in_at": moment})
    user["confirmed_at"] = user["confirmed_at"] or user["email_confirmed_at"]
    session_id = uuid.uuid4()
    connection.execute(
        b"INSERT INTO auth.sessions (id, user_id, created_at, updated_at, aal, user_agent, ip)"
        b" VALUES (%s, %s, %s, %s, 'aal1', %s, %s)",
        (session_id, user["id"], moment, moment, client.get("user_agent"), client.get("ip")),
    )
    connection.execute(
        b"INSERT INTO auth.mfa_amr_claims (session_id, created_at, updated_at, authentication_method, id)"
        b" VALUES (%s, %s, %s, %s, %s)",
        (session_id, moment, moment, method, uuid.uuid4()),
    )
    refresh = _insert_token(connection, user["id"], session_id, None)
    return _answer(connection, config, tokens, user, session_id, refresh)


def refresh(connection: Rows, config: AuthConfig, tokens: Tokens, given: str) -> dict[str, Any] | Fault:
    """Exchange a refresh token.

    Returns the Fault of a reuse instead of raising it, so that the revocation is committed.
    Raises: Fault 400 with the server's codes.
    """
    if not given:
        raise validation_failed("Refresh token is not valid")
    row = one(connection, "SELECT session_id FROM auth.refresh_tokens WHERE token = %s", given)
    if row is None or row["session_id"] is None:
        raise Fault(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
    session = one(connection, "SELECT * FROM auth.sessions WHERE id = %s FOR UPDATE", row["session_id"])
    token = one(connection, "SELECT * FROM auth.refresh_tokens WHERE token = %s", given)
    if session is None or token is None:
        raise Fault(400, "session_not_found", "Invalid Refresh Token: No Valid Session Found")
    user = by_id(connection, session["user_id"])
    if user is None:
        raise Fault(400, "session_not_found", "Invalid Refresh Token: No Valid Session Found")
    if is_banned(user):
        raise Fault(400, "user_banned", "Invalid Refresh Token: User Banned")
    issued = given if not config.refresh_rotation else None
    if config.refresh_rotation:
        issued = _rotated(connection, config, token, session["id"], user["id"])
        if issued is None:
            return Fault(400, "refresh_token_already_used", "Invalid Refresh Token: Already Used")
    assert issued is not None
    moment = now()
    connection.execute(
        b"UPDATE auth.sessions SET refreshed_at = %s, updated_at = %s WHERE id = %s",
        (moment.astimezone(timezone.utc).replace(tzinfo=None), moment, session["id"]),
    )
    return _answer(connection, config, tokens, user, session["id"], issued)


def is_banned(user: dict[str, Any]) -> bool:
    """Say whether the user is banned now."""
    return user["banned_until"] is not None and user["banned_until"] > now()


def end(connection: Rows, user_id: uuid.UUID, scope: str, session_id: uuid.UUID | None) -> None:
    """End sessions: `global` ends all sessions of the user, `local` this one, `others` all but this one."""
    if scope == "global":
        connection.execute(b"DELETE FROM auth.sessions WHERE user_id = %s", (user_id,))
    elif scope == "local":
        connection.execute(b"DELETE FROM auth.sessions WHERE id = %s", (session_id,))
    else:
        connection.execute(b"DELETE FROM auth.sessions WHERE user_id = %s AND id <> %s", (user_id, session_id))


def _rotated(
    connection: Rows, config: AuthConfig, token: dict[str, Any], session_id: uuid.UUID, user_id: uuid.UUID
) -> str | None:
    """Return the next refresh token. After a reuse, revoke all tokens of the session and return None."""
    if not token["revoked"]:
        connection.execute(
            b"UPDATE auth.refresh_tokens SET revoked = true, updated_at = %s WHERE id = %s", (now(), token["id"])
        )
        return _insert_token(connection, user_id, session_id, token["token"])
    active = one(
        connection,
        "SELECT token, parent FROM auth.refresh_tokens WHERE session_id = %s AND NOT revoked ORDER BY id DESC LIMIT 1",
        session_id,
    )
    if active is not None and active["parent"] == token["token"]:
        return str(active["token"])
    if token["updated_at"] + timedelta(seconds=config.refresh_reuse_interval) > now():
        connection.execute(
            b"UPDATE auth.refresh_tokens SET revoked = true, updated_at = %s WHERE session_id = %s AND NOT revoked",
            (now(), session_id),
        )
        return _insert_token(connection, user_id, session_id, token["token"])
    connection.execute(
        b"UPDATE auth.refresh_tokens SET revoked = true, updated_at = %s WHERE session_id = %s", (now(), session_id)
    )
    return None


def _insert_token(connection: Rows, user_id: uuid.UUID, session_id: uuid.UUID, parent: str | None) -> str:
    token = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    moment = now()
    connection.execute(
        b"INSERT INTO auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at, parent,"
        b" session_id) VALUES (%s, %s, %s, false, %s, %s, %s, %s)",
        (INSTANCE, token, str(user_id), moment, moment, parent, session_id),
    )
    return token


def _answer(
    connection: Rows, config: AuthConfig, tokens: Tokens, user: dict[str, Any], session_id: uuid.UUID, refresh: str
) -> dict[str, Any]:
    claims = connection.execute(
        b"SELECT authentication_method, created_at FROM auth.mfa_amr_claims WHERE session_id = %s", (session_id,)
    )
    amr = [{"method": row["authentication_method"], "timestamp": int(row["created_at"].timestamp())} for row in claims]
    access, expires_at = tokens.access_token(user, str(session_id), amr)
    return {
        "access_token": access,
        "token_type": "bearer",
        "expires_in": config.jwt_exp,
        "expires_at": expires_at,
        "refresh_token": refresh,
        "user": to_json(connection, user),
    }
