"""How results become JSON: each type of value in one way, a dataclass by its fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, timezone
from enum import Enum
from operator import attrgetter
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

T = TypeVar("T")
Value = Any
"""Values of JSON: str, int, float, bool, None, lists and mappings of these."""
Encoders = Mapping[type, Callable[[Any], Value] | None]
"""How values of a type become JSON, where that differs from the usual; None for values that are JSON already."""
NOTHING: Mapping[Any, Any] = MappingProxyType({})


class Record(Generic[T]):
    """The fields of one kind of result, resolved once, and their values as JSON.

    Parameters: `kind` is a dataclass, whose fields are all shown, or `paths` names the shown attributes, some of
    a part such as `place.host`. The last word of a path is the field's name unless `renamed` maps the path to another
    one. `computed` maps names to functions of the result; names that are not among the paths follow the other fields.
    """

    def __init__(
        self,
        kind: type[T] | None = None,
        *,
        paths: tuple[str, ...] = (),
        renamed: Mapping[str, str] = NOTHING,
        computed: Mapping[str, Callable[[T], object]] = NOTHING,
        encoders: Encoders = NOTHING,
    ) -> None:
        given = paths or within("", kind)
        named = {renamed.get(path) or path.rpartition(".")[2]: path for path in given}
        self.getters: dict[str, Callable[[T], object]] = {n: attrgetter(p) for n, p in named.items()} | dict(computed)
        self._encoders = _Encoders(encoders)

    def encoder(self, names: tuple[str, ...]) -> Callable[[T], dict[str, Value]]:
        """Return the function that makes a JSON object of these fields of a result."""
        getters = tuple((name, self.getters[name]) for name in names)
        encoders = self._encoders

        def encode(item: T) -> dict[str, Value]:
            record: dict[str, Value] = {}
            for name, get in getters:
                value = get(item)
                encoder = encoders[type(value)]
                record[name] = value if encoder is None else encoder(value)
            return record

        return encode

    def encoded(self, value: object) -> Value:
        """Return the value of a field as JSON. Raises: TypeError."""
        return self._encoders.encoded(value)


def within(part: str, kind: type[Any] | None) -> tuple[str, ...]:
    """Return the paths of all fields of a dataclass that is an attribute of the result."""
    return tuple(f"{part}{f.name}" for f in fields(kind)) if kind is not None and is_dataclass(kind) else ()


def shape(
    kind: type[T],
    *,
    paths: tuple[str, ...] = (),
    renamed: Mapping[str, str] = NOTHING,
    computed: Mapping[str, Callable[[T], object]] = NOTHING,
    encoders: Encoders = NOTHING,
) -> Callable[[T], dict[str, Value]]:
    """Return how a part of a result becomes JSON. Parameters: as those of `Record`."""
    record = Record(kind, paths=paths, renamed=renamed, computed=computed, encoders=encoders)
    return record.encoder(tuple(record.getters))


class _Encoders(dict[type, "Callable[[Any], Value] | None"]):
    """How values become JSON by their type: enums, UUIDs, paths, datetimes, tuples, mappings, dataclasses.

    None for what JSON holds itself. Every other type is refused, so that no `Secret` is shown unless a view reveals it.
    """

    def __init__(self, own: Encoders) -> None:
        super().__init__({**dict.fromkeys((str, int, float, bool, type(None))), **own})

    def __missing__(self, kind: type) -> Callable[[Any], Value] | None:
        self[kind] = found = self._usual(kind)
        return found

    def encoded(self, value: object) -> Value:
        """Return a value as JSON. Raises: TypeError."""
        encode = self[type(value)]
        return value if encode is None else encode(value)

    def _usual(self, kind: type) -> Callable[[Any], Value]:
        encoded = self.encoded
        if issubclass(kind, Enum):
            return attrgetter("_value_")
        if issubclass(kind, (UUID, PurePath)):
            return str
        if issubclass(kind, datetime):
            return rfc3339
        if issubclass(kind, (tuple, list)):
            return lambda values: [encoded(value) for value in values]
        if issubclass(kind, Mapping):
            return lambda values: {encoded(key): encoded(value) for key, value in values.items()}
        if is_dataclass(part := cast("type[Any]", kind)):
            return shape(part, encoders=self)
        raise TypeError(f"a view shows no {kind.__name__}")


def rfc3339(moment: datetime | None) -> str | None:
    """Return a moment in RFC 3339, UTC, with microseconds where there are any."""
    return None if moment is None else moment.astimezone(timezone.utc).isoformat()[: -len("+00:00")] + "Z"
