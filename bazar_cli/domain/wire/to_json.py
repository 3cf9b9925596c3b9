"""Requests and results to JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from datetime import datetime, timezone
from enum import Enum
from functools import cache
from operator import attrgetter
from typing import Any, cast
from uuid import UUID

from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.wire.fields import WireField, fields_of
from bazar_cli.domain.wire.shapes import CONFIRM, shape_of

Json = Any
"""Values of JSON: str, int, float, bool, None, lists and mappings of these."""


def to_json(value: object) -> Json:
    """Return a request or result of the domain as a value of JSON; secrets are revealed. Raises: TypeError."""
    return _encoder(type(value))(value)


def request_to_json(request: object) -> dict[str, Json]:
    """Return a request as a JSON object, without the fields that have their default."""
    found: dict[str, Json] = {}
    _write_given(fields_of(type(request)), request, found)
    return found


def rfc3339(moment: datetime) -> str:
    """Return a moment in RFC 3339, UTC, with microseconds where there are any."""
    return moment.astimezone(timezone.utc).isoformat()[: -len("+00:00")] + "Z"


def _write_given(known: tuple[WireField, ...], value: object, found: dict[str, Json]) -> None:
    for f in known:
        given = _without_impact(f.name, getattr(value, f.name))
        if f.flat:
            if given is not None:
                _write_given(f.flat, given, found)
        elif f.required or given != f.default:
            found[f.key] = to_json(given)


def _without_impact(name: str, value: Any) -> Any:
    """Return the value of a field; an impact that was agreed to is a header, and here nothing."""
    return None if name == CONFIRM and not isinstance(value, str) else value


@cache
def _encoder(kind: type[Any]) -> Callable[[Any], Json]:
    if issubclass(kind, Enum):
        return attrgetter("_value_")
    if kind in {str, int, float, bool, type(None)}:
        return _unchanged
    if issubclass(kind, UUID):
        return str
    if issubclass(kind, datetime):
        return rfc3339
    if issubclass(kind, Secret):
        return Secret.reveal
    if issubclass(kind, (tuple, list)):
        return lambda values: [to_json(value) for value in values]
    if issubclass(kind, Mapping):
        return lambda values: {to_json(key): to_json(value) for key, value in values.items()}
    if is_dataclass(kind):
        return _record(kind)
    raise TypeError(f"the API shows no {kind.__name__}")


def _unchanged(value: Json) -> Json:
    return value


def _record(kind: type[Any]) -> Callable[[Any], Json]:
    getters = _getters(kind)

    def encode(value: Any) -> Json:
        found: dict[str, Json] = {}
        for key, get in getters:
            one = get(value)
            found[key] = one if type(one) is str else _encoder(cast("type[Any]", type(one)))(one)
        return found

    return encode


def _getters(kind: type[Any]) -> tuple[tuple[str, Callable[[Any], object]], ...]:
    """Return a function for each name in JSON. A flat part that may be None is in requests only."""
    found: dict[str, Callable[[Any], object]] = {}
    for f in fields_of(kind):
        if f.flat:
            found |= {key: _through(f.name, get) for key, get in _getters(f.hint)}
            found |= {inner.key: attrgetter(f"{f.name}.{inner.name}") for inner in f.flat if not inner.flat}
            # The name of the part's own, where the whole renames it.
            own = {inner.name: inner.key for inner in fields_of(f.hint)}
            for inner in f.flat:
                if own[inner.name] != inner.key:
                    found.pop(own[inner.name], None)
        elif f.name == CONFIRM:
            found[f.key] = lambda value, name=f.name: _without_impact(name, getattr(value, name))
        else:
            found[f.key] = attrgetter(f.name)
    return tuple((found | dict(shape_of(kind).computed)).items())


def _through(name: str, get: Callable[[Any], object]) -> Callable[[Any], object]:
    return lambda value: get(getattr(value, name))
