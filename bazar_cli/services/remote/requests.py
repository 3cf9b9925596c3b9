"""Use cases as requests to the API, by the routes of their specs."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote
from uuid import uuid4

from bazar_cli import __version__
from bazar_cli.adapters.remote.client import Ask
from bazar_cli.domain.consent import Impact
from bazar_cli.domain.errors import Conflict, NotFound
from bazar_cli.domain.page import Page
from bazar_cli.domain.route import Answer, Route
from bazar_cli.domain.wire.from_json import Unfit, from_json
from bazar_cli.domain.wire.to_json import request_to_json

if TYPE_CHECKING:
    from bazar_cli.adapters.remote.client import ApiClient
    from bazar_cli.domain.authz.spec import Spec
    from bazar_cli.domain.secrets import Secret

T = TypeVar("T")
_NO_REFERENCE = frozenset({"", ".", "..", "me", "export", "adopt"})
"""References that nobody has, and that a path cannot hold. A new id, which nobody has either, stands for them."""
_STREAMED = 500
"""How many rows of an export are handed on together."""


def asked_for(spec: Spec, request: object, *, token: Secret | None = None, dry_run: bool = False) -> Ask:
    """Return the request to the API for a use case."""
    route = _route(spec)
    values = {} if route.request is None else request_to_json(request)
    path = route.path
    stands_for: dict[str, str] = {}
    for name in route.names:
        value = str(values.pop(name))
        if value in _NO_REFERENCE:
            stands_for[new := str(uuid4())] = value
            value = new
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    query = {"dry_run": "true"} if dry_run else {}
    if not route.has_body:
        query |= {name: _in_query(value) for name, value in values.items()}
    body = values if route.has_body and route.request is not None else None
    return Ask(route.method, path, route.path, token, query, body, _consent(request), stands_for)


def result_of(spec: Spec, client: ApiClient, asked: Ask) -> Any:
    """Send the request of a use case, and return its result: for a stream, pages as they arrive.

    Raises: as `ApiClient.ask`; Conflict `api.other_version` for an answer of another release.
    """
    route = _route(spec)
    if route.answer is Answer.STREAM:
        return _pages(route, client, client.stream(asked))
    try:
        answer = client.ask(asked)
    except NotFound as error:
        raise _with_given(error, asked.stands_for) if asked.stands_for else error from None
    if route.result is None:
        return None
    if route.answer is Answer.ONE:
        return _read(route.result, answer, client)
    items = tuple(_read(route.result, item, client) for item in _listed(answer, client))
    return items if route.answer is Answer.LIST else Page(items, answer.get("next_cursor"))


def _route(spec: Spec) -> Route:
    assert spec.route is not None, f"{spec.name} has no route"
    return spec.route


def _pages(route: Route, client: ApiClient, lines: Iterator[Any]) -> Iterator[Page[Any]]:
    assert route.result is not None, f"{route.path} streams nothing"
    while items := tuple(_read(route.result, line, client) for line in islice(lines, _STREAMED)):
        yield Page(items, None)


def _with_given(error: NotFound, stands_for: Mapping[str, str]) -> NotFound:
    """Return an error with what was given in place of the ids that stood for it."""
    message, details = error.message, dict(error.details)
    for new, given in stands_for.items():
        message = message.replace(new, given)
        details = {name: given if value == new else value for name, value in details.items()}
    return NotFound(error.code, message, hint=error.hint, details=details)


def _in_query(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _consent(request: object) -> dict[str, str]:
    """Return the header for an impact that was agreed to; none without one."""
    given = getattr(request, "agreed", None) or getattr(request, "confirm", None)
    if not isinstance(given, Impact):
        return {}
    consent = {"subject": given.subject, "users": given.users, "word": given.word and given.word.value}
    return {"Bazar-Consent": urlsafe_b64encode(json.dumps(consent).encode()).decode()}


def _listed(answer: Any, client: ApiClient) -> list[Any]:
    items: object = cast("dict[str, Any]", answer).get("items") if isinstance(answer, dict) else None
    if not isinstance(items, list):
        raise _of_another_release(client, "it is not a list")
    return cast("list[Any]", items)


def _read(kind: type[T], value: object, client: ApiClient) -> T:
    try:
        return from_json(kind, value)
    except Unfit as unfit:
        raise _of_another_release(client, str(unfit)) from unfit


def _of_another_release(client: ApiClient, reason: str) -> Conflict:
    return Conflict(
        "api.other_version",
        f"bazar {__version__} cannot read the answer of a server with bazar {client.server_version}: {reason}",
        hint="use the same release on both sides; what the command asked for may have been done",
        details={"client": __version__, "server": client.server_version},
    )
