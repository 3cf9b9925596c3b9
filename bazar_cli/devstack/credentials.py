"""What an embedded stack keeps for itself: its keys, its superuser and the database that it stands beside."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from bazar_cli.adapters import ownership
from bazar_cli.adapters.files import mended, write_private
from bazar_cli.devstack.auth.keys import AuthKeys, generate_keys
from bazar_cli.domain.errors import Conflict
from bazar_cli.domain.texts import from_json

DEFAULT_SUPERUSER = "admin@bazar.test"
_PASSWORD_BYTES = 18
_ANEW = "or start over with empty data: bazar local reset"


@dataclass(frozen=True)
class Credentials:
    """The stack's secrets, stored 0600 in `credentials.json` below its data folder."""

    stack_id: str
    """Stands beside the data too: keys and data of different stacks are never mixed."""
    superuser_email: str
    superuser_password: str = field(repr=False)
    keys: AuthKeys = field(repr=False)
    database_url: str | None = field(default=None, repr=False)
    """An external Postgres, or None for the embedded one."""


def create(superuser_email: str | None, superuser_password: str | None) -> Credentials:
    """Generate new keys, and what the caller did not give of the superuser."""
    return Credentials(
        stack_id=str(uuid4()),
        superuser_email=superuser_email or DEFAULT_SUPERUSER,
        superuser_password=superuser_password or secrets.token_urlsafe(_PASSWORD_BYTES),
        keys=generate_keys(),
    )


def load(path: Path) -> Credentials | None:
    """Read the stored credentials; None when there are none.

    Raises Conflict `local.credentials_unreadable` for a file that is damaged, may not be read, or could have been
    read or written by others.
    """
    try:
        content = ownership.read(path, secret=True)
        if content.doubt is not None:
            raise _unreadable(path, content.doubt.reason, f"{content.doubt.remedy}, {_ANEW}")
        raw: dict[str, Any] = from_json(content.data)
        database_url = raw["database_url"]
        return Credentials(
            stack_id=_text(raw["stack_id"]),
            superuser_email=_text(raw["superuser_email"]),
            superuser_password=_text(raw["superuser_password"]),
            keys=AuthKeys(**{name: _text(value) for name, value in raw["keys"].items()}),
            database_url=None if database_url is None else _text(database_url),
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error), mended(path, error)) from error
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _unreadable(path, "it is damaged", f"restore the file, {_ANEW}") from None


def _unreadable(path: Path, reason: str, hint: str) -> Conflict:
    return Conflict(
        "local.credentials_unreadable",
        f"the embedded stack's credentials in {path} cannot be read ({reason})",
        hint=hint,
    )


def _text(value: object) -> str:
    """Raises: TypeError for nothing, or for what is no text."""
    if not isinstance(value, str) or not value:
        raise TypeError("a field without text")
    return value


def save(path: Path, credentials: Credentials) -> None:
    """Store the credentials, mode 0600, in one step."""
    keys = credentials.keys
    document = {
        "stack_id": credentials.stack_id,
        "superuser_email": credentials.superuser_email,
        "superuser_password": credentials.superuser_password,
        "database_url": credentials.database_url,
        "keys": {
            "jwt_secret": keys.jwt_secret,
            "jwt_keys": keys.jwt_keys,
            "anon_key": keys.anon_key,
            "service_key": keys.service_key,
            "publishable_key": keys.publishable_key,
            "secret_key": keys.secret_key,
        },
    }
    write_private(path, json.dumps(document, indent=2) + "\n")


def with_superuser(stored: Credentials, email: str | None, password: str | None) -> tuple[Credentials, str]:
    """Apply a superuser given by the caller to stored credentials, whose data may know only the stored one.

    Returns what to use now, and a sentence for the user when the caller's wish was not taken (else "").
    """
    if email is not None and email.casefold() != stored.superuser_email.casefold():
        return stored, (
            f"The superuser here is {stored.superuser_email}; SUPERUSER_EMAIL says {email} and is ignored. "
            "To change it: bazar local reset, then bazar local start."
        )
    if password is not None and password != stored.superuser_password:
        return replace(stored, superuser_password=password), (
            f"Using the given SUPERUSER_PASSWORD for {stored.superuser_email}; another one is stored."
        )
    return stored, ""
