"""The JSON Schema of a state file, made of the shapes by which bazar reads it."""

from __future__ import annotations

from typing import Any

from bazar_cli.domain.declared.shapes import STATE_FILE, Choice, Field, Items, Shape


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the file of `diff` and `apply`.

    It refuses no file that bazar takes. Some rules of values and all rules between values are left to bazar.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Declared state of bazar",
        "description": "A key that is absent is not managed.",
        **_schema(STATE_FILE),
    }


def _schema(form: Field | Shape) -> dict[str, Any]:
    if isinstance(form, Shape):
        return {
            "type": "object",
            "additionalProperties": False,
            "required": list(form.needed),
            "properties": {key: _optional(value, key in form.needed) for key, value in form.fields.items()},
        }
    if isinstance(form, Items):
        most = {} if form.most is None else {"maxItems": form.most}
        return {"description": form.about, "type": "array", "items": _schema(form.of), **most}
    if isinstance(form, Choice):
        return {"description": form.about, "enum": [choice.value for choice in form.kind]}
    return {"description": form.about, "type": "string", **form.rules}


def _optional(form: Field, needed: bool) -> dict[str, Any]:
    """Return the schema of a field; one that is not needed may be null."""
    found = _schema(form)
    if needed:
        return found
    if "enum" in found:
        return {**found, "enum": [*found["enum"], None]}
    return {**found, "type": [found["type"], "null"]}
