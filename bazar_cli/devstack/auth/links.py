"""One-time links and codes for a mail or an admin. `/verify` redeems each once."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import dataclass
from datetime import timedelta, timezone
from typing import Any
from urllib.parse import quote

from bazar_cli.devstack.auth.config import AuthConfig
from bazar_cli.devstack.auth.errors import Fault, validation_failed
from bazar_cli.devstack.auth.pool import Rows, one
from bazar_cli.devstack.auth.users import by_id, merged, now, update, verify_identity

_COLUMNS = {
    "confirmation_token": ("confirmation_token", "confirmation_sent_at"),
    "recovery_token": ("recovery_token", "recovery_sent_at"),
    "email_change_token_new": ("email_change_token_new", "email_change_sent_at"),
}
_TYPES = {
    "signup": ("confirmation_token",),
    "invite": ("confirmation_token",),
    "recovery": ("recovery_token",),
    "magiclink": ("recovery_token",),
    "email": ("confirmation_token", "recovery_token"),
}


@dataclass(frozen=True)
class Link:
    """A link for a mail or an admin."""

    url: str
    code: str
    """Six digits that can be typed in place of the link."""
    hashed_token: str
    redirect_to: str
    kind: str


def make(
    connection: Rows, config: AuthConfig, user: dict[str, Any], kind: str, token_type: str, redirect_to: str | None
) -> tuple[dict[str, Any], Link]:
    """Make a link that replaces earlier ones of its token type; return the changed row and the link."""
    code = f"{secrets.randbelow(1_000_000):06d}"
    hashed = hashed_code(user["email"], code)
    token_column, sent_column = _COLUMNS[token_type]
    user = update(connection, user, {token_column: hashed, sent_column: now()})
    # These columns have no time zone and hold UTC. Their default would be the local time of the database.
    moment = now().replace(tzinfo=None)
    connection.execute(
        b"DELETE FROM auth.one_time_tokens WHERE user_id = %s AND token_type = %s", (user["id"], token_type)
    )
    connection.execute(
        b"INSERT INTO auth.one_time_tokens (id, user_id, token_type, token_hash, relates_to, created_at, updated_at)"
        b" VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (uuid.uuid4(), user["id"], token_type, hashed, user["email"], moment, moment),
    )
    target = redirect_to or config.site_url
    url = f"{config.external_url}/verify?token={hashed}&type={kind}&redirect_to={quote(target, safe=':/')}"
    return user, Link(url, code, hashed, target, kind)


def keep_mail(connection: Rows, recipient: str, link: Link) -> None:
    """Store the mail that a real service would send."""
    connection.execute(
        b"INSERT INTO bazar_auth.mails (recipient, kind, link, code) VALUES (%s, %s, %s, %s)",
        (recipient, link.kind, link.url, link.code),
    )


def hashed_code(email: str, code: str) -> str:
    """Return the hash that is stored in place of the code, and that links carry (Supabase Auth v2.196)."""
    return hashlib.sha224((email + code).encode()).hexdigest()


def redeem(connection: Rows, config: AuthConfig, body: dict[str, Any]) -> dict[str, Any]:
    """Redeem a link or code, and return the row of the user, who is confirmed by it.

    Parameters: `body` has `type` and either `token_hash` or `email` and `token`.
    Raises: Fault 403 `otp_expired`, 400 `validation_failed`.
    """
    kind = str(body.get("type", ""))
    if not kind:
        raise validation_failed("Verify requires a verification type")
    hashed, by_link = str(body.get("token_hash", "")), True
    if not hashed:
        if not body.get("token"):
            raise validation_failed("Verify requires a token or a token hash")
        if not body.get("email"):
            raise validation_failed("Only an email address or phone number should be provided on verify")
        hashed, by_link = hashed_code(str(body["email"]).lower(), str(body["token"])), False
    sentence = "Email link is invalid or has expired" if by_link else "Token has expired or is invalid"
    expired = Fault(403, "otp_expired", sentence)
    wanted = _TYPES.get(kind)
    if wanted is None:
        raise expired
    token = one(
        connection,
        "SELECT * FROM auth.one_time_tokens WHERE token_hash = %s AND token_type::text = ANY(%s) FOR UPDATE",
        hashed,
        list(wanted),
    )
    if token is None:
        raise expired
    age = now() - token["created_at"].replace(tzinfo=timezone.utc)
    user = by_id(connection, token["user_id"], lock=True)
    if user is None or age > timedelta(seconds=config.otp_exp):
        raise expired
    return _confirmed(connection, user, token)


def _confirmed(connection: Rows, user: dict[str, Any], token: dict[str, Any]) -> dict[str, Any]:
    connection.execute(b"DELETE FROM auth.one_time_tokens WHERE id = %s", (token["id"],))
    changes: dict[str, Any] = {_COLUMNS[token["token_type"]][0]: ""}
    if user["email_confirmed_at"] is None:
        changes["email_confirmed_at"] = now()
        verify_identity(connection, user["id"])
        changes["raw_user_meta_data"] = merged(user["raw_user_meta_data"], {"email_verified": True})
    elif token["token_type"] == "confirmation_token":  # noqa: S105 - the kind of a token
        verify_identity(connection, user["id"])
    changed = update(connection, user, changes)
    if token["token_type"] == "confirmation_token":  # noqa: S105
        changed = update(connection, changed, {"confirmation_sent_at": None})
    changed["confirmed_at"] = changed["email_confirmed_at"]
    return changed
