"""The OpenAPI document, made from the specs and the services' own texts."""

from __future__ import annotations

import inspect
import re
from typing import Any

from bazar_cli import __version__
from bazar_cli.api import problems
from bazar_cli.api.bodies import MOST_BYTES
from bazar_cli.api.requests import DRY_RUN
from bazar_cli.api.router import methods_of
from bazar_cli.api.schemas import Schema, Schemas, of_body, of_field
from bazar_cli.api.use_cases import Binding
from bazar_cli.domain.authz.spec import Access, Scope
from bazar_cli.domain.route import PREFIX, Answer
from bazar_cli.domain.wire.fields import all_fields

REQUEST_HEADERS = (
    *("Authorization", "Bazar-Consent", "Bazar-Version", "Content-Type", "Idempotency-Key", "If-Match"),
    *("X-Request-Id", "traceparent"),
)
ANSWER_HEADERS = ("Bazar-Version", "ETag", "Link", "Location", "Retry-After", "X-Request-Id")

_ABOUT = """The API of Bazar: users, organizations, plans and the audit log.

Every route but sign-in needs `Authorization: Bearer TOKEN`. Errors are `application/problem+json` (RFC 9457) with a
stable `code`. docs/api.md explains pages, versions, consent and repeated requests."""
_REASONS = {
    400: "The request cannot be read.",
    401: "The access token is missing, invalid or expired.",
    403: "The operator's plan or role does not allow it.",
    404: "It does not exist, or the operator cannot see it.",
    405: "The method is not served here.",
    409: "It exists with other values, another request is in the middle of it, or a rule forbids it.",
    412: "It is not the version that If-Match names.",
    413: f"The body is longer than {MOST_BYTES} bytes.",
    415: "The body is not JSON.",
    422: "A value breaks a rule.",
    428: "It needs consent to its impact, which `impact` describes.",
    429: "A rate limit was reached; Retry-After says when to try again.",
    500: "A bug of the server.",
    503: "Postgres or Supabase Auth does not answer, or the server is busy; Retry-After says when to try again.",
}
_ALWAYS = (400, 422, 429, 500, 503)
_SCOPES = {
    Scope.NONE: "everywhere",
    Scope.ONESELF: "for oneself",
    Scope.REACH: "for what the operator can see",
    Scope.ROW: "where the operator's role allows it",
    Scope.PLATFORM: "for superusers",
}
_HEADERS: dict[str, Schema] = {
    "Idempotency-Key": {"type": "string", "pattern": "^[!#-~]{1,255}$"},
    "If-Match": {"type": "string", "pattern": '^"[!#-~]*"$'},
    "Bazar-Consent": {"type": "string"},
}
_KEYS = {
    "Idempotency-Key": "A text of 1 to 255 characters. The same request with the same key is done once in 24 hours.",
    "If-Match": "The ETag of an earlier answer: the change is refused if it is not that version any more.",
    "Bazar-Consent": "Consent to the impact of a problem 428: base64url of JSON with its subject, users and word.",
}


def document(bindings: tuple[Binding, ...]) -> dict[str, Any]:
    """Return the document of these use cases."""
    schemas = Schemas()
    paths: dict[str, dict[str, Any]] = {}
    for binding in sorted(bindings, key=lambda b: b.route.path):
        for method in methods_of(binding):
            paths.setdefault(PREFIX + binding.route.path, {})[method.lower()] = _operation(binding, method, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Bazar", "version": __version__, "description": _ABOUT},
        "paths": paths,
        "components": {
            "schemas": {**dict(sorted(schemas.components.items())), "Problem": _problem(), "Impact": _impact()},
            "responses": {str(status): _problem_response(text) for status, text in _REASONS.items()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _operation(binding: Binding, method: str, schemas: Schemas) -> dict[str, Any]:
    spec, route = binding.spec, binding.route
    found: dict[str, Any] = {
        "operationId": f"{spec.name}.{method.lower()}",
        "tags": [route.path.split("/")[1]],
        "summary": _summary(binding),
        "description": _requires(binding) + _whole(binding, method),
        "parameters": _parameters(binding),
    }
    if route.has_body:
        required = route.replaced if method == "PUT" else ()
        schema = (
            of_body(route.request, route.names, required)
            if route.request
            else {"type": "object", "additionalProperties": False}
        )
        found["requestBody"] = {
            "required": bool(schema.get("required")),
            "content": {"application/json": {"schema": schema}},
        }
    found["responses"] = {**_answers(binding, schemas), **_problems(binding)}
    if binding.needs_token:
        found["security"] = [{"token": []}]
    return found


def _summary(binding: Binding) -> str:
    text = inspect.getdoc(binding.service) or ""
    first = re.split(r"\n\n|(?<=\.)\s", text, maxsplit=1)[0].replace("\n", " ")
    return re.sub(r";.*", "", first).rstrip(".").strip() + "."


def _requires(binding: Binding) -> str:
    spec = binding.spec
    if not binding.needs_token:
        return f"Public: {spec.reason}."
    if spec.access is Access.PUBLIC:
        return f"Requires a signed-in user: {spec.reason}."
    if spec.access is Access.SIGNED_IN:
        return "Requires a signed-in, active operator."
    permissions = ", ".join(sorted(f"`{p.value}`" for p in spec.permissions))
    return f"Requires {permissions}, {_SCOPES[spec.scope]}."


def _whole(binding: Binding, method: str) -> str:
    """Return what PUT needs, where PATCH is served too."""
    return f" PUT needs {' and '.join(binding.route.replaced)}." if method != binding.route.method else ""


def _parameters(binding: Binding) -> list[Schema]:
    spec, route = binding.spec, binding.route
    kind = route.request
    known = all_fields(kind) if kind is not None else ()
    assert kind is not None or not known, "fields belong to a request"
    found: list[Schema] = [
        {"name": f.key, "in": "path", "required": True, "schema": {"minLength": 1, **of_field(kind, f, text=True)}}
        for f in known
        if kind is not None and f.key in route.names
    ]
    if not route.has_body and kind is not None:
        found += [
            {"name": f.key, "in": "query", "required": f.required, "schema": of_field(kind, f, text=True)}
            for f in known
            if f.key not in route.names
        ]
    if spec.writes and spec.access is not Access.PUBLIC:
        found.append(
            {
                "name": DRY_RUN,
                "in": "query",
                "description": "Check everything and write nothing.",
                "schema": {"type": "boolean", "default": False},
            }
        )
    taken = [("Idempotency-Key", route.creates), ("If-Match", route.versioned), ("Bazar-Consent", _asks(binding))]
    found += [
        {"name": name, "in": "header", "description": _KEYS[name], "schema": _HEADERS[name]}
        for name, takes in taken
        if takes
    ]
    return found


def _asks(binding: Binding) -> bool:
    """Say whether a use case can ask for consent."""
    kind = binding.route.request
    return kind is not None and bool({"agreed", "confirm"} & set(kind.__dataclass_fields__))


def _answers(binding: Binding, schemas: Schemas) -> dict[str, Any]:
    route = binding.route
    if route.result is None:
        return {"204": {"description": "Done.", "headers": _headers()}}
    one = schemas.of_result(route.result)
    media, schema = "application/json", one
    headers: list[str] = []
    if route.answer is Answer.LIST:
        schema = _object(items={"type": "array", "items": one})
    elif route.answer is Answer.PAGE:
        schema = _object(items={"type": "array", "items": one}, next_cursor={"type": ["string", "null"]})
        headers = ["Link"]
    elif route.answer is Answer.STREAM:
        media, schema = "application/jsonl", {"type": "string"}
    else:
        properties = schemas.components.get(route.result.__name__, {}).get("properties", {})
        headers = ["ETag"] if {"id", "updated_at"} <= set(properties) else []
    content = {media: {"schema": schema}}
    found = {"200": {"description": "Done.", "headers": _headers(*headers), "content": content}}
    if route.creates:
        found["201"] = {"description": "Created.", "headers": _headers(*headers, "Location"), "content": content}
    return found


def _problems(binding: Binding) -> dict[str, Any]:
    spec, route = binding.spec, binding.route
    statuses = {*_ALWAYS, 401, 404}
    if spec.access is not Access.PUBLIC:
        statuses |= {403}
    statuses |= {409}
    if route.has_body:
        statuses |= {413, 415}
    if route.versioned:
        statuses |= {412}
    if _asks(binding):
        statuses |= {428}
    return {str(s): {"$ref": f"#/components/responses/{s}"} for s in sorted(statuses)}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"schema": {"type": "string"}} for name in (*names, "Bazar-Version", "X-Request-Id")}


def _problem_response(text: str) -> dict[str, Any]:
    content = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": text, "headers": _headers(), "content": content}


def _problem() -> Schema:
    text: Schema = {"type": "string"}
    properties: dict[str, Schema] = {
        "type": {"type": "string", "format": "uri"},
        "title": text,
        "status": {"type": "integer", "enum": sorted(_REASONS)},
        "detail": text,
        "instance": text,
        "code": text,
        "exit_code": {"type": "integer"},
        "hint": text,
        "details": {"type": "object"},
        "request_id": text,
        "below": {"type": "array", "items": text},
    }
    more = {"retry_after": {"type": "integer"}, "impact": {"$ref": "#/components/schemas/Impact"}}
    return {"type": "object", "properties": {**properties, **more}, "required": list(properties)}


def _impact() -> Schema:
    text: Schema = {"type": "string"}
    word = _object(value=text, what=text, code=text, any_case={"type": "boolean"})
    return _object(
        text=text,
        question=text,
        command=text,
        subject={"type": "array", "items": text},
        users={"type": "integer"},
        details={"type": "object"},
        word={"anyOf": [word, {"type": "null"}]},
    )


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}
