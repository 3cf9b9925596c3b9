"""JSON Schemas of requests and results, from their dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any, get_args, get_origin
from uuid import UUID

from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.wire.fields import WireField, all_fields, fields_of, is_record, without_none
from bazar_cli.domain.wire.limits import RULES, limits_of
from bazar_cli.domain.wire.shapes import shape_of
from bazar_cli.domain.wire.to_json import to_json

Schema = dict[str, Any]

_SIMPLE: Mapping[Any, Schema] = {
    str: {"type": "string"},
    Secret: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    UUID: {"type": "string", "format": "uuid"},
    datetime: {"type": "string", "format": "date-time"},
    object: {},
}
_COMPUTED: Mapping[str, Schema] = {
    "changed": {"type": "boolean"},
    "id": {"type": ["string", "null"], "format": "uuid"},
    "permission_count": {"type": "integer"},
    "provisional_id": {"type": ["string", "null"], "format": "uuid"},
    "user_id": {"type": "string", "format": "uuid"},
    "whole": {"type": "boolean"},
}
"""Of the fields that only answers have."""


class Schemas:
    """The schemas of one document: each result once, by the name of its dataclass."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}

    def of_result(self, hint: Any) -> Schema:
        """Return the schema of a result, or of a part of one."""
        inner, nullable = without_none(hint)
        found = self._of_type(inner)
        if not nullable:
            return found
        return {"anyOf": [found, {"type": "null"}]} if "$ref" in found or "enum" in found else _or_null(found)

    def _of_type(self, hint: Any) -> Schema:
        if is_record(hint):
            return self._component(hint)
        origin = get_origin(hint)
        if origin is tuple:
            return {"type": "array", "items": self.of_result(get_args(hint)[0])}
        if origin is not None:
            return {"type": "object", "additionalProperties": self.of_result(get_args(hint)[1])}
        return _value(hint)

    def _component(self, kind: type[Any]) -> Schema:
        name = kind.__name__
        if name not in self.components:
            self.components[name] = {}
            self.components[name] = self._record(kind)
        return {"$ref": f"#/components/schemas/{name}"}

    def _record(self, kind: type[Any]) -> Schema:
        properties = {f.key: self.of_result(f.hint | None if f.nullable else f.hint) for f in all_fields(kind)}
        for shape in (*(shape_of(f.hint) for f in fields_of(kind) if f.flat), shape_of(kind)):
            properties |= {name: dict(_COMPUTED[name]) for name in shape.computed}
        # A client meets fields of newer servers.
        return {"type": "object", "properties": properties, "required": list(properties)}


def of_body(kind: type[Any], without: tuple[str, ...], required: tuple[str, ...] = ()) -> Schema:
    """Return the schema of a JSON body.

    Parameters: `without` are the fields that the path holds; `required` are fields that PUT needs.
    """
    known = [f for f in all_fields(kind) if f.key not in without]
    needed = [f.key for f in known if f.required or f.key in required]
    found: Schema = {
        "type": "object",
        "properties": {f.key: of_field(kind, f) for f in known},
        "additionalProperties": False,
        **RULES.get(kind.__name__, {}),
    }
    return {**found, "required": needed} if needed else found


def of_field(kind: type[Any], f: WireField, *, text: bool = False) -> Schema:
    """Return the schema of one field of a request. Parameters: `text` says that it is in a path or query."""
    owner = next((part.hint for part in fields_of(kind) if f in part.flat), kind)
    found = _value(f.hint)
    if found.get("type") in {"string", "integer"} and "format" not in found and "enum" not in found:
        found |= limits_of(owner.__name__, f.key)
    if not f.required and f.default is not None and not isinstance(f.default, Secret):
        found["default"] = to_json(f.default)
    return found if text or not f.nullable else _or_null(found)


def _value(hint: Any) -> Schema:
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"type": "string", "enum": [member.value for member in hint]}
    return dict(_SIMPLE[hint])


def _or_null(schema: Schema) -> Schema:
    found = {**schema, "type": [schema["type"], "null"]} if "type" in schema else schema
    return {**found, "enum": [*schema["enum"], None]} if "enum" in schema else found
