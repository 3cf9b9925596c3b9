"""Request bodies, read with the rules and the error messages of Go's decoder."""

from __future__ import annotations

import json
import math
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
_EXACT_DIGITS = 15
_MAX_DEPTH = 200
"""The deepest nesting that is read. Go takes 10,000, but Python's encoder, which writes it again, is recursive."""
_ACCEPTS: dict[str, tuple[type, ...]] = {STRING: (str,), BOOL: (bool,), BOOL_POINTER: (bool,), MAP: (dict,)}


def parse(raw: bytes, struct: str, fields: Mapping[str, str], *, may_be_empty: bool = False) -> dict[str, Any]:
    """Return the JSON object of a body, after a check of its declared fields for their Go types.

    Unknown fields are ignored. A null counts as absent, also as the whole body.
    Parameters: `struct` is the Go type that errors name.
    Raises: Fault 400 `bad_json`.
    """
    if may_be_empty and not raw.strip():
        return {}
    value = _decoded(raw.decode("utf-8", "replace"))
    if value is None:
        return {}
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


def _decoded(text: str) -> object:
    try:
        value: object = json.loads(text, parse_int=_number, parse_float=_number, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise _bad_json(_syntax(text, error)) from error
    except RecursionError as error:
        raise _bad_json("exceeded max depth") from error
    return _without_surrogates(value, 0)


def _without_surrogates(value: object, depth: int) -> object:
    """Replace lone surrogates, which UTF-8 cannot hold, as Go does. Raises: Fault 400 for too deep a nesting."""
    if depth > _MAX_DEPTH:
        raise _bad_json("exceeded max depth")
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_without_surrogates(item, depth + 1) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        pairs = cast("dict[str, object]", value).items()
        return {str(_without_surrogates(name, depth)): _without_surrogates(item, depth + 1) for name, item in pairs}
    return value


def _number(text: str) -> float:
    """Return an int for a short whole number, else a float: numbers are float64 in Go."""
    if len(text) <= _EXACT_DIGITS and text.lstrip("-").isdigit():
        return int(text)
    number = float(text)
    if math.isinf(number):
        raise _bad_json(f"json: cannot unmarshal number {text[:30]} into Go value of type float64")
    return number


def _constant(text: str) -> float:
    raise _bad_json(f"invalid character '{text.lstrip('-')[0]}' looking for beginning of value")


def _kind(value: object) -> str:
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "null")


def _syntax(text: str, error: json.JSONDecodeError) -> str:
    if error.pos >= len(text.rstrip()) or not text.strip():
        return "unexpected end of JSON input"
    where = "after top-level value" if error.msg == "Extra data" else "looking for beginning of value"
    return f"invalid character '{text[error.pos]}' {where}"


def _bad_json(detail: str) -> Fault:
    return Fault(400, "bad_json", f"Could not parse request body as JSON: {detail}")
