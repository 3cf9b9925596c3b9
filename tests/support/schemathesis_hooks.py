"""Values that no schema can describe, in the valid requests that schemathesis makes.

A key that was used belongs to another request, a new password must differ from the old one, and some names give no
slug: each request gets its own.
"""

from __future__ import annotations

from typing import Any, cast
from uuid import uuid4

import schemathesis


def give_own_values(_context: Any, case: Any, _kwargs: Any) -> None:
    """Replace the key and the new password of a valid request, and give a new organization a slug."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if "Idempotency-Key" in (case.headers or {}):
        case.headers["Idempotency-Key"] = uuid4().hex
    if case.path.endswith("/auth/password") and isinstance(case.body, dict):
        case.body = {"password": uuid4().hex}
    body: Any = case.body
    if case.path.endswith("/organizations/") and isinstance(body, dict):
        case.body = {**cast("dict[str, Any]", body), "slug": f"s-{uuid4().hex}"}


cast("Any", schemathesis).hook("before_call")(give_own_values)
