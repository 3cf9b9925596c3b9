"""The stored credentials of an embedded stack: its keys, its superuser and the URL of an external database."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from bazar_cli.adapters import ownership
from bazar_cli.adapters.files import remedy, write_private
from bazar_cli.devstack.auth.keys import AuthKeys, generate_keys
from bazar_cli.domain.errors import Conflict
from bazar_cli.domain.texts import from_json, nonempty_text

DEFAULT_SUPERUSER = "admin@bazar.test"
_PASSWORD_BYTES = 18
_OR_RESET = "or start over with empty data: `bazar local reset`"


@dataclass(frozen=True)
class Credentials:
    """The stack's secrets, stored in `credentials.json` below its data folder, mode 0600."""

    stack_id: str
    """Stored beside the data too, so that keys and data of different stacks are never mixed."""
    superuser_email: str
    superuser_password: str = field(repr=False)
    keys: AuthKeys = field(repr=False)
    database_url: str | None = field(default=None, repr=False)
    """An external Postgres, or None for the embedded one."""


def create(superuser_email: str | None, superuser_password: str | None) -> Credentials:
    """Return new keys with the given superuser; a missing address or password gets a default."""
    return Credentials(
        stack_id=str(uuid4()),
        superuser_email=superuser_email or DEFAULT_SUPERUSER,
        superuser_password=superuser_password or secrets.token_urlsafe(_PASSWORD_BYTES),
        keys=generate_keys(),
    )


def load(path: Path) -> Credentials | None:
    """Return the stored credentials; None when there are none.

    Raises: Conflict `local.credentials_unreadable` for a file that is damaged or cannot be read, or that others could
    have read or written.
    """
    try:
        content = ownership.read(path, secret=True)
        if content.doubt is not None:
            raise _unreadable(path, content.doubt.reason, f"{content.doubt.remedy}, {_OR_RESET}")
        raw: dict[str, Any] = from_json(content.data)
        database_url = raw["database_url"]
        return Credentials(
            stack_id=nonempty_text(raw["stack_id"]),
            superuser_email=nonempty_text(raw["superuser_email"]),
            superuser_password=nonempty_text(raw["superuser_password"]),
            keys=AuthKeys(**{name: nonempty_text(value) for name, value in raw["keys"].items()}),
            database_url=None if database_url is None else nonempty_text(database_url),
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error), remedy(path, error)) from error
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _unreadable(path, "it is damaged", f"restore the file, {_OR_RESET}") from None


def _unreadable(path: Path, reason: str, hint: str) -> Conflict:
    return Conflict(
        "local.credentials_unreadable",
        f"the embedded stack's credentials in {path} cannot be read ({reason})",
        hint=hint,
    )


def save(path: Path, credentials: Credentials) -> None:
    """Store the credentials, mode 0600."""
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
    """Return the credentials to use where data with a superuser exist, and a notice ("" for none).

    A given address is ignored, because the data have the stored one. A given password is used and not stored.
    """
    if email is not None and email.casefold() != stored.superuser_email.casefold():
        return stored, (
            f"The superuser is {stored.superuser_email}; SUPERUSER_EMAIL={email} is ignored. "
            "To change it, run `bazar local reset`, then `bazar local start`"
        )
    if password is not None and password != stored.superuser_password:
        return replace(stored, superuser_password=password), (
            f"Using SUPERUSER_PASSWORD for {stored.superuser_email}; the stored password is another one"
        )
    return stored, ""
