"""Results of use cases as responses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from starlette.responses import Response

from bazar_cli.api.preconditions import etag_of
from bazar_cli.domain.page import Page
from bazar_cli.domain.route import PREFIX, Answer, Route
from bazar_cli.domain.wire.to_json import to_json

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Scope

_DONE_BY_THIS_REQUEST = ("created", "adopted", "changed")
"""The fields of results that are false where nothing was created."""


def encoded(value: object) -> bytes:
    """Return a value of JSON as the bytes of an answer."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def to_response(route: Route, result: Any, request: Request, *, dry_run: bool) -> Response:
    """Return the response for the result of a use case that is not a stream."""
    if route.result is None:
        return Response(status_code=204)
    if route.answer is Answer.LIST:
        return _response({"items": to_json(result)})
    if route.answer is Answer.PAGE:
        return _page(result, request)
    return one(route, to_json(result), request.scope, dry_run=dry_run)


def one(route: Route, content: Mapping[str, Any], scope: Scope, *, dry_run: bool) -> Response:
    """Return the response for one result in JSON, with its ETag, and its address where this request created it."""
    headers: dict[str, str] = {}
    if not dry_run and (etag := etag_of(content)) is not None:
        headers["ETag"] = etag
    created = route.creates and not dry_run and next((content[n] for n in _DONE_BY_THIS_REQUEST if n in content), True)
    if created and "id" in content:
        place = route.path if route.path.endswith("/") else f"{route.path.rpartition('/')[0]}/"
        headers["Location"] = f"{scope.get('root_path', '')}{PREFIX}{place}{content['id']}"
    return _response(content, 201 if created else 200, headers)


def lines(parts: Iterable[Page[Any]]) -> Iterator[bytes]:
    """Yield the JSON Lines of a stream, some at a time, without its last line."""
    for part in parts:
        yield b"".join(encoded(to_json(item)) + b"\n" for item in part.items)


def _page(page: Page[Any], request: Request) -> Response:
    headers: dict[str, str] = {}
    if page.next_cursor is not None:
        query = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
        following = urlencode([*query, ("cursor", page.next_cursor)])
        headers["Link"] = f'<{quote(request.scope["path"], safe="/@:")}?{following}>; rel="next"'
    return _response({"items": to_json(page.items), "next_cursor": page.next_cursor}, headers=headers)


def _response(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(encoded(content), status, headers, "application/json")
