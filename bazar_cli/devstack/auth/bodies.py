"""Request bodies as Go's decoder reads them, with its sentences for what it refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from bazar_cli.devstack.auth.errors import Fault

STRING, BOOL, MAP, ANY, BOOL_POINTER = "string", "bool", "map[string]interface {}", "any", "*bool"
_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "bool"),
    (str, "string"),
    (int, "number"),
    (float, "number"),
    (list, "array"),
    (dict, "object"),
)
_ACCEPTS: dict[str, tuple[type, ...]] = {STRING: (str,), BOOL: (bool,), BOOL_POINTER: (bool,), MAP: (dict,)}


def parse(raw: bytes, struct: str, fields: Mapping[str, str], *, may_be_empty: bool = False) -> dict[str, Any]:
    """Return the JSON object of a body, its declared fields checked for their Go types.

    Parameters: `struct` is the Go type named in errors; unknown fields are ignored, null counts as absent.
    Raises: Fault 400 `bad_json`.
    """
    if may_be_empty and not raw.strip():
        return {}
    try:
        value: object = json.loads(raw)
    except UnicodeDecodeError as error:
        raise _bad_json("invalid character in string literal") from error
    except json.JSONDecodeError as error:
        raise _bad_json(_syntax(raw, error)) from error
    if not isinstance(value, dict):
        raise _bad_json(f"json: cannot unmarshal {_kind(value)} into Go value of type api.{struct}")
    body = cast("dict[str, Any]", value)
    for name, go_type in fields.items():
        given = body.get(name)
        accepted = _ACCEPTS.get(go_type)
        wrong = accepted is not None and (
            not isinstance(given, accepted) or (bool not in accepted and isinstance(given, bool))
        )
        if given is not None and wrong:
            raise _bad_json(
                f"json: cannot unmarshal {_kind(given)} into Go struct field {struct}.{name} of type {go_type}"
            )
    return {name: v for name, v in body.items() if v is not None}


def _kind(value: object) -> str:
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "null")


def _syntax(raw: bytes, error: json.JSONDecodeError) -> str:
    text = raw.decode("utf-8", "replace")
    if error.pos >= len(text.rstrip()) or not text.strip():
        return "unexpected end of JSON input"
    return f"invalid character '{text[error.pos]}' looking for beginning of value"


def _bad_json(detail: str) -> Fault:
    return Fault(400, "bad_json", f"Could not parse request body as JSON: {detail}")
