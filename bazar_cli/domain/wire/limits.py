"""The limits of values in requests, for the schema of the API. The services check them; this page only says them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bazar_cli.domain.orgs.organizations import SLUG_MAX
from bazar_cli.domain.page import MAX_LIMIT
from bazar_cli.domain.users.values import EMAIL_MAX, NAME_MAX, PASSWORD_MAX_BYTES, PASSWORD_MIN_BYTES, REASON_MAX

Limits = Mapping[str, Any]

_LINE = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"
"""No control character."""
_EMAIL: Limits = {
    "maxLength": EMAIL_MAX,
    "pattern": r"^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+"
    r"@[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$",
}
_REFERENCE: Limits = {"minLength": 1, "pattern": r"^[^\u0000]*$"}
_LIMITS: Mapping[str, Limits] = {
    "action": {"pattern": r"^[a-z][a-z_-]*(\.[a-z][a-z_-]*)*$"},
    "email": _EMAIL,
    "expect": {"pattern": r"^[0-9a-fA-F]{64}$"},
    "limit": {"minimum": 1, "maximum": MAX_LIMIT},
    "name": {"maxLength": NAME_MAX, "pattern": _LINE},
    "password": {"minLength": PASSWORD_MIN_BYTES, "maxLength": PASSWORD_MAX_BYTES, "pattern": r"^[^\u0000]*$"},
    "password_hash": {"pattern": r"^\$2[aby]\$(0[4-9]|1[0-5])\$[./A-Za-z0-9]{53}$"},
    "reason": {"minLength": 1, "maxLength": REASON_MAX, "pattern": _LINE},
    "slug": {"maxLength": SLUG_MAX, "pattern": r"^[a-z0-9]+(-[a-z0-9]+)*$"},
}
_OF_KIND: Mapping[tuple[str, str], Limits] = {
    ("Login", "password"): {"minLength": 1, "pattern": r"^[^\u0000]*$"},
    ("CreateOrganization", "name"): {"minLength": 1, "maxLength": NAME_MAX, "pattern": _LINE},
    ("UpdateOrganization", "name"): {"minLength": 1, "maxLength": NAME_MAX, "pattern": _LINE},
}
"""Where a field of one request has other limits."""


def limits_of(kind: str, field: str) -> Limits:
    """Return the limits of a field of a request, as JSON Schema says them. Parameters: `kind` is the dataclass."""
    return _OF_KIND.get((kind, field)) or _LIMITS.get(field, _REFERENCE)
