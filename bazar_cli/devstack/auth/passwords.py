"""Password hashes: bcrypt as in Supabase. Its other forms are stored, but no password matches them here."""

from __future__ import annotations

import re
from typing import TypedDict

import bcrypt

from bazar_cli.devstack.auth.config import AuthConfig
from bazar_cli.devstack.auth.errors import Fault, internal, validation_failed


class Weakness(TypedDict):
    """Why a password is weak: a message, and Supabase's names of the reasons."""

    message: str
    reasons: list[str]


COST = 10
MAX_BYTES = 72
_BCRYPT = re.compile(r"\$2[abxy]?\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")
_BASE64 = r"[A-Za-z0-9+/]+={0,2}"
_OTHER = re.compile(
    r"\$argon2id?\$v=19\$m=[0-9]{1,7},t=[0-9]{1,2},p=[0-9]{1,2}"
    rf"\${_BASE64}\${_BASE64}"
    rf"|\$fbscrypt\$v=1,n=[0-9]+,r=[0-9]+,p=[0-9]+(,ss={_BASE64})?(,sk={_BASE64})?\${_BASE64}\${_BASE64}"
)


def hash_new(password: str) -> str:
    """Return the bcrypt hash of a new user's password. Raises: Fault 500 above 72 bytes (recorded)."""
    if len(password.encode()) > MAX_BYTES:
        raise internal()
    return _hash(password)


def hash_changed(password: str, config: AuthConfig) -> str:
    """Return the hash of a changed password. Raises: Fault 400 above 72 bytes, 422 `weak_password`."""
    if len(password.encode()) > MAX_BYTES:
        raise validation_failed(f"Password cannot be longer than {MAX_BYTES} characters")
    weakness = weak(password, config)
    if weakness is not None:
        raise Fault(
            422, "weak_password", weakness["message"], extra={"weak_password": {"reasons": weakness["reasons"]}}
        )
    return _hash(password)


def weak(password: str, config: AuthConfig) -> Weakness | None:
    """Return why a password is weak, or None."""
    if len(password) < config.password_min_length:
        message = f"Password should be at least {config.password_min_length} characters."
        return Weakness(message=message, reasons=["length"])
    return None


def checked_hash(given: str) -> str:
    """Return a hash that Supabase would store. Raises: Fault 500 for any other text (recorded)."""
    if not (_BCRYPT.fullmatch(given) or _OTHER.fullmatch(given)):
        raise Fault(500, "unexpected_failure", "Error creating user", with_id=True)
    return given


def matches(password: str, stored: str | None) -> bool:
    """Say whether the password has this hash. It takes the time of a bcrypt run."""
    if not stored or not _BCRYPT.fullmatch(stored) or len(password.encode()) > MAX_BYTES:
        return False
    try:
        return bcrypt.checkpw(password.encode(), stored.encode())
    except ValueError:
        # The text has the form of a bcrypt hash, but its salt is not possible.
        return False


def _hash(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(COST, prefix=b"2a")).decode()
