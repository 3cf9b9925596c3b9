"""Requests of HTTP as requests of the domain: path, query and body, with each wrong field named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bazar_cli.api.errors import Unserved
from bazar_cli.domain.route import Route
from bazar_cli.domain.wire.from_json import Problem, Unfit, from_json

DRY_RUN = "dry_run"


def read_request(
    route: Route,
    method: str,
    path: Mapping[str, str],
    query: list[tuple[str, str]],
    body: dict[str, Any],
) -> object:
    """Return the request of a use case; None for a use case without one.

    Parameters: `query` has no `dry_run`. Raises: Unserved `request.invalid`.
    """
    problems = _misplaced(route, method, query, body)
    given = body if route.has_body else dict(query)
    if route.request is None:
        problems += [Problem(name, "it is unknown") for name in given]
        _refuse(problems)
        return None
    values = {**{name: value for name, value in given.items() if name not in route.names}, **path}
    try:
        found = from_json(route.request, values, strict=True, texts=not route.has_body)
    except Unfit as unfit:
        problems += unfit.problems
    else:
        if not problems:
            return found
    return _refuse(problems)


def take_dry_run(query: list[tuple[str, str]], *, writes: bool) -> tuple[bool, list[tuple[str, str]]]:
    """Return whether the query asks for a dry run, and the rest of the query. Raises: Unserved `request.invalid`."""
    asked = [value for name, value in query if name == DRY_RUN]
    if not asked or not writes:
        return False, query
    if asked not in (["true"], ["false"]):
        _refuse([Problem(DRY_RUN, "it must be true or false, once")])
    return asked == ["true"], [(name, value) for name, value in query if name != DRY_RUN]


def _misplaced(route: Route, method: str, query: list[tuple[str, str]], body: dict[str, Any]) -> list[Problem]:
    """Return the fields that are in the wrong place, twice there, or missing for PUT."""
    names = [name for name, _ in query]
    given = body if route.has_body else dict(query)
    problems = [Problem(name, "it is a part of the path") for name in route.names if name in given]
    if route.has_body:
        problems += [Problem(name, "the query of this route has no such field") for name in dict.fromkeys(names)]
    else:
        problems += [Problem(name, "it is given twice") for name in dict.fromkeys(names) if names.count(name) > 1]
    if method == "PUT":
        problems += [Problem(name, "PUT needs it; PATCH does not") for name in route.replaced if name not in body]
    return problems


def _refuse(problems: list[Problem]) -> None:
    if not problems:
        return
    named = [f"{p.field[:60]}: {p.message}" if p.field else p.message for p in problems]
    raise Unserved(
        422,
        "request.invalid",
        f"the request cannot be used: {named[0]}" + (f" ({len(named) - 1} more below)" if named[1:] else ""),
        hint="correct what `details.fields` names; docs/api.md and /docs say what each route takes",
        details={"fields": [{"field": p.field[:200], "message": p.message} for p in problems[:50]]},
    )
