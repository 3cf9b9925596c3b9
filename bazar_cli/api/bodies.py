"""Bodies of requests: at most 1 MiB of JSON in UTF-8, each key once, and only what JSON has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from bazar_cli.api.errors import Unserved
from bazar_cli.domain.texts import from_json, unique_keys

if TYPE_CHECKING:
    from starlette.requests import Request

MOST_BYTES = 1 << 20
_MOST_DROPPED = 16 << 20
_JSON = re.compile(r"application/json\s*(?:;\s*charset\s*=\s*\"?utf-?8\"?\s*)?", re.I)


async def read_body(request: Request) -> bytes:
    """Return the body of a request, b"" without one.

    The rest of a body that is too long is received and dropped, up to 16 MiB: many clients read no answer before they
    have sent all. Raises: Unserved `request.too_large`.
    """
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared[:20]) > _MOST_DROPPED:
        raise _too_large()
    content, received = bytearray(), 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > _MOST_DROPPED:
            raise _too_large()
        if received <= MOST_BYTES:
            content += chunk
    if received > MOST_BYTES:
        raise _too_large()
    return bytes(content)


def parsed(body: bytes, headers: Mapping[str, str], *, takes_one: bool) -> dict[str, Any]:
    """Return the JSON object of a body; an empty body has no fields.

    Raises: Unserved `request.media_type` for another form than JSON, `request.unreadable`, also for a body where
    `takes_one` says that none is taken.
    """
    if not body:
        return {}
    if not takes_one:
        raise _unreadable("this route takes no body", "send the values in the query")
    given = headers.get("content-type", "")
    if not _JSON.fullmatch(given) or headers.get("content-encoding", "identity") != "identity":
        raise Unserved(
            415,
            "request.media_type",
            f"the body is {given[:60] or 'of no declared type'!r}, and this route takes JSON",
            hint="send `Content-Type: application/json`, in UTF-8 and without Content-Encoding",
            headers={"Accept": "application/json"},
        )
    try:
        found = from_json(body.decode(), object_pairs_hook=unique_keys, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise _unreadable(f"the body is not UTF-8: byte {error.start}") from None
    except ValueError as error:
        raise _unreadable(f"the body is not JSON that can be used: {error}") from None
    if not isinstance(found, dict):
        raise _unreadable("the body is not a JSON object")
    return found  # pyright: ignore[reportUnknownVariableType]


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"JSON has no {name}")


def _too_large() -> Unserved:
    return Unserved(
        413,
        "request.too_large",
        f"the body is longer than {MOST_BYTES} bytes",
        hint="send less in one request",
        details={"most": MOST_BYTES},
        headers={"Connection": "close"},
    )


def _unreadable(message: str, hint: str = "send one JSON object, in UTF-8, with each key once") -> Unserved:
    return Unserved(400, "request.unreadable", message, hint=hint)
