"""The limits of values in requests, for the schema of the API. The services check them; this page only says them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bazar_cli.domain.orgs.organizations import SLUG_MAX
from bazar_cli.domain.page import MAX_LIMIT
from bazar_cli.domain.users.values import EMAIL_MAX, NAME_MAX, PASSWORD_MAX_BYTES, PASSWORD_MIN_BYTES, REASON_MAX

Limits = Mapping[str, Any]

TEXT: Limits = {"pattern": r"^[^\u0000]*$"}
"""Any text: no request holds NUL."""
_LINE = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"
"""No control character."""
_EMAIL: Limits = {
    "maxLength": EMAIL_MAX,
    "pattern": r"^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+"
    r"@[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$",
}
_NAME: Limits = {"maxLength": NAME_MAX, "pattern": _LINE}
_LIMITS: Mapping[str, Limits] = {
    "action": {"pattern": r"^[a-z][a-z_-]*(\.[a-z][a-z_-]*)*$"},
    "email": _EMAIL,
    "expect": {"pattern": r"^[0-9a-fA-F]{64}$"},
    "limit": {"minimum": 1, "maximum": MAX_LIMIT},
    "name": _NAME,
    # Bytes, which JSON Schema does not count: a character has 4 at most.
    "password": {
        "minLength": PASSWORD_MIN_BYTES,
        "maxLength": PASSWORD_MAX_BYTES,
        "anyOf": [{"pattern": r"^[\u0001-\u007f]*$"}, {"maxLength": PASSWORD_MAX_BYTES // 4, **TEXT}],
    },
    "password_hash": {"pattern": r"^\$2[aby]\$(0[4-9]|1[0-5])\$[./A-Za-z0-9]{53}$"},
    "reason": {"minLength": 1, "maxLength": REASON_MAX, "pattern": _LINE},
    "refresh_token": {"minLength": 1, **TEXT},
    "slug": {"maxLength": SLUG_MAX, "pattern": r"^[a-z0-9]+(-[a-z0-9]+)*$"},
}
_OF_KIND: Mapping[tuple[str, str], Limits] = {
    ("Login", "password"): {"minLength": 1, **TEXT},
    ("CreateOrganization", "name"): {"minLength": 1, **_NAME},
    ("UpdateOrganization", "name"): {"minLength": 1, **_NAME},
}
"""Where a field of one request has other limits."""


def limits_of(kind: str, field: str) -> Limits:
    """Return the limits of a field of a request, as JSON Schema says them. Parameters: `kind` is the dataclass."""
    return _OF_KIND.get((kind, field)) or _LIMITS.get(field, TEXT)


def _both(*given: tuple[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {"properties": dict(given), "required": [name for name, _ in given]}


_TEXT, _TRUE = {"type": "string"}, {"const": True}
_WAYS = (("password", _TEXT), ("password_hash", _TEXT), ("generate_password", _TRUE), ("invite", _TRUE))
RULES: Mapping[str, Limits] = {
    "CreateUser": {
        "not": {
            "anyOf": [
                *(_both(one, other) for index, one in enumerate(_WAYS) for other in _WAYS[index + 1 :]),
                {
                    **_both(("role", _TEXT)),
                    "not": _both(("organization", _TEXT)),
                },
            ]
        }
    }
}
"""Rules of whole requests, by the dataclass: which fields exclude or need each other."""
