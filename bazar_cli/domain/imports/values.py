"""The columns of an import, and the rule for the value of each."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, cast

from bazar_cli.domain.entities import Plan, Role, UserState
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.orgs.organizations import checked_slug
from bazar_cli.domain.texts import from_json, json_kind, unique_keys
from bazar_cli.domain.users.identities import STAMP
from bazar_cli.domain.users.values import check_bcrypt_hash, check_password, checked_name, normalized_email

READ = (
    "email",
    "name",
    "organizations",
    "plan",
    "password",
    "password_hash",
    "user_metadata",
    "app_metadata",
    "id",
    "state",
)
"""Columns that an import reads. `state` is only compared: a new user who was suspended is refused."""
IGNORED = ("pending", "is_superuser", "created_at", "updated_at")
"""Columns of an export that an import does not read."""
METADATA_BYTES = 64 * 1024
"""The size of a JSON object of metadata, as Postgres gets it."""
_DEPTH = 64
_RESERVED = (STAMP, "provider", "providers")
"""Keys of `app_metadata` that bazar and Supabase Auth write themselves."""
_BASE64 = r"[A-Za-z0-9+/]+={0,2}"
_ARGON2 = re.compile(
    rf"\$argon2(?:i|id)\$v=19\$m=(?P<m>[0-9]{{1,7}}),t=(?P<t>[0-9]{{1,2}}),p=(?P<p>[0-9]{{1,2}})\${_BASE64}\${_BASE64}",
    re.A,
)
_FIREBASE_SCRYPT = re.compile(
    rf"\$fbscrypt\$v=1,n=(?P<n>[0-9]{{1,2}}),r=[0-9]{{1,2}},p=[0-9]{{1,2}}"
    rf",ss={_BASE64},sk={_BASE64}\${_BASE64}\${_BASE64}",
    re.A,
)
_ARGON2_KIB = 256 * 1024
"""Memory of a sign-in at the Auth server; many sign in at once."""
_ARGON2_PASSES = 10
_FIREBASE_ROUNDS = 17
_HASH_CHARACTERS = 1024
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""A NUL character in JSON, which Postgres refuses; not the text `\\u0000`."""


def invalid(message: str) -> UsageError:
    """Return the error for a value that breaks a rule."""
    return UsageError("imports.value_invalid", message, hint="correct the value")


def _text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise invalid(f"a text is needed, not {json_kind(value)}")
    return value


def _email(value: object) -> str:
    text = _text(value)
    if not text:
        raise invalid("the email is missing")
    return normalized_email(text)


def _name(value: object) -> str:
    """An empty name is no name; the column is given."""
    return checked_name(_text(value)) or ""


def _plan(value: object) -> str | None:
    return _choice(_text(value), _PLANS, "plan")


def _state(value: object) -> str | None:
    return _choice(_text(value), _STATES, "state")


_PLANS = tuple(plan.value for plan in Plan)
_STATES = tuple(state.value for state in UserState)


def _choice(text: str, known: tuple[str, ...], what: str) -> str | None:
    if text and text not in known:
        raise invalid(f"{text[:40]!r} is not a {what}; choose one of: {', '.join(known)}")
    return text or None


def _id(value: object) -> str | None:
    text = _text(value)
    try:
        return str(uuid.UUID(text)) if text else None
    except ValueError:
        raise invalid(f"{text[:60]!r} is not a UUID") from None


_ROLES = frozenset(role.value for role in Role)


def _organizations(value: object) -> str | None:
    """Return memberships as `slug:role;slug:role`, in the given order; None for none."""
    if isinstance(value, list):
        return _joined([_membership_of(item) for item in cast("list[object]", value)])
    return _joined_of_text(_text(value))


@lru_cache(maxsize=1024)
def _joined_of_text(text: str) -> str | None:
    """Return the memberships of a cell; many rows have the same."""
    return _joined([_membership(part.strip()) for part in text.split(";") if part.strip()])


def _joined(given: list[tuple[str, str]]) -> str | None:
    found: dict[str, str] = {}
    for slug, role in given:
        if role not in _ROLES:
            raise invalid(f"{role[:40]!r} is not a role of {slug}; choose one of: {', '.join(Role)}")
        if slug in found:
            raise invalid(f"{slug} is named twice")
        found[slug] = role
    return ";".join(f"{slug}:{role}" for slug, role in found.items()) or None


def _membership(part: str) -> tuple[str, str]:
    slug, colon, role = part.partition(":")
    return checked_slug(slug), role if colon else Role.MEMBER.value


def _membership_of(item: object) -> tuple[str, str]:
    if isinstance(item, str):
        return _membership(item)
    if not isinstance(item, dict):
        raise invalid(f"a list of objects with slug and role is needed, not of {json_kind(item)}")
    given = cast("dict[str, object]", item)
    unknown = sorted(given.keys() - {"id", "slug", "role"})
    if unknown:
        raise invalid(f"unknown key {unknown[0][:40]!r} of an organization; known: id, slug, role")
    return checked_slug(_text(given.get("slug"))), _text(given.get("role")) or Role.MEMBER.value


def _password(value: object) -> str | None:
    text = _text(value)
    if text:
        check_password(text)
    return text or None


def _password_hash(value: object) -> str | None:
    text = _text(value)
    if text:
        _check_hash(text)
    return text or None


def _check_hash(text: str) -> None:
    """Refuse a text that Supabase Auth does not take for a hash, or of a cost that a server cannot bear.

    Supabase Auth takes bcrypt, argon2i and argon2id, and Firebase's scrypt (Supabase Auth v2.196).
    """
    if text.startswith("$argon2"):
        argon2 = _ARGON2.fullmatch(text)
        if argon2 is None or len(text) > _HASH_CHARACTERS:
            raise _no_hash("it is not argon2i or argon2id of version 19 with m, t and p, a salt and a hash in base64")
        if int(argon2["m"]) > _ARGON2_KIB or int(argon2["t"]) > _ARGON2_PASSES or not int(argon2["p"]):
            raise _no_hash(f"a sign-in would take too much; m is at most {_ARGON2_KIB}, t at most {_ARGON2_PASSES}")
    elif text.startswith("$fbscrypt"):
        scrypt = _FIREBASE_SCRYPT.fullmatch(text)
        if scrypt is None or len(text) > _HASH_CHARACTERS:
            raise _no_hash(
                "it is not Firebase's scrypt: $fbscrypt$v=1,n=N,r=R,p=P,ss=SEPARATOR,sk=SIGNER_KEY$SALT$HASH in base64"
            )
        if int(scrypt["n"]) > _FIREBASE_ROUNDS:
            raise _no_hash(f"a sign-in would take too much; n is at most {_FIREBASE_ROUNDS}")
    else:
        check_bcrypt_hash(text)


def _no_hash(rule: str) -> UsageError:
    return UsageError(
        "users.password_hash_invalid", f"the password hash is not valid: {rule}", hint="correct the value"
    )


def _user_metadata(value: object) -> str | None:
    return _metadata(value, ())


def _app_metadata(value: object) -> str | None:
    return _metadata(value, _RESERVED)


def _metadata(value: object, reserved: tuple[str, ...]) -> str | None:
    """Return a JSON object as text; None for none."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            value = from_json(value, object_pairs_hook=unique_keys, parse_constant=_no_constant)
        except ValueError as error:
            raise invalid(f"it is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise invalid(f"a JSON object is needed, not {json_kind(value)}")
    given = cast("dict[str, object]", value)
    taken = next((key for key in reserved if key in given), None)
    if taken is not None:
        raise invalid(f"the key {taken!r} is written by bazar or Supabase Auth alone")
    text = as_json(given)
    if len(text.encode()) > METADATA_BYTES:
        raise invalid(f"it has more than {METADATA_BYTES // 1024} KiB")
    return text if given else None


def as_json(value: object) -> str:
    """Return a JSON value as Postgres takes it. Raises: UsageError for NUL characters, surrogates, infinite numbers."""
    if _is_deep(value):
        raise invalid(f"it is nested deeper than {_DEPTH} levels")
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except UnicodeEncodeError:
        raise invalid("it has a half of a surrogate pair, which is no character") from None
    except ValueError:
        raise invalid("it has a number that is too large") from None
    if _NUL.search(text):
        raise invalid("it has a NUL character (U+0000)")
    return text


def _is_deep(value: object) -> bool:
    """Whether a JSON value has more levels than `_DEPTH`."""
    level: list[object] = [value]
    for _ in range(_DEPTH):
        inner: list[object] = []
        for one in level:
            if isinstance(one, dict):
                inner += cast("dict[str, object]", one).values()
            elif isinstance(one, list):
                inner += cast("list[object]", one)
        if not inner:
            return False
        level = inner
    return True


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number of JSON")


PARSERS: Mapping[str, Callable[[object], str | None]] = {
    "email": _email,
    "name": _name,
    "organizations": _organizations,
    "plan": _plan,
    "password": _password,
    "password_hash": _password_hash,
    "user_metadata": _user_metadata,
    "app_metadata": _app_metadata,
    "id": _id,
    "state": _state,
}
"""For each column that is read, the function from a cell of CSV or a value of JSON to the text for Postgres."""
