"""The header Idempotency-Key of requests that create something."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bazar_cli.api.errors import Unserved
from bazar_cli.domain.wire.to_json import request_to_json, to_json
from bazar_cli.services.idempotency import Key, once

if TYPE_CHECKING:
    from collections.abc import Callable

    from bazar_cli.api.use_cases import Binding

_KEY = re.compile(r'"?(?P<text>[\x21\x23-\x7e]{1,255})"?')
_NEVER_KEPT = ("password",)
"""The fields of answers that are in the first answer only."""


@dataclass(frozen=True)
class Kept:
    """The answer that a request with the same key had before, in JSON."""

    content: dict[str, Any]


def key_of(header: str, binding: Binding, asked: object) -> Key:
    """Return the key of a request. Raises: Unserved `request.unreadable`."""
    found = _KEY.fullmatch(header)
    if found is None or not binding.route.creates:
        why = "this route takes no Idempotency-Key" if found else f"the Idempotency-Key {header[:60]!r} cannot be used"
        raise Unserved(
            400, "request.unreadable", why, hint="send 1 to 255 printable ASCII characters, where something is created"
        )
    payload = json.dumps([binding.spec.name, request_to_json(asked)], sort_keys=True)
    return Key(found["text"], payload.encode())


def done_once(binding: Binding, key: Key) -> Callable[[Any, Any, Any], Any]:
    """Return the service of a use case that is done once for the key; it returns a result, or what is Kept of one."""

    def without_secrets(result: object) -> str:
        content = to_json(result)
        return json.dumps({**content, **{name: None for name in _NEVER_KEPT if name in content}})

    return once(binding.service, key, to_answer=without_secrets, answered=lambda text: Kept(json.loads(text)))
