"""JSON to requests and results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from functools import cache
from typing import Any, TypeVar, cast, get_args, get_origin
from uuid import UUID

from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.texts import composed
from bazar_cli.domain.wire.fields import WireField, fields_of, is_record, without_none
from bazar_cli.domain.wire.shapes import shape_of

T = TypeVar("T")


@dataclass(frozen=True)
class Problem:
    """What is wrong with one field; the empty name is the whole value."""

    field: str
    message: str


class Unfit(Exception):
    """JSON that is not the wanted kind; it names each wrong field."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(f"{p.field}: {p.message}" if p.field else p.message for p in problems))
        self.problems = problems


class _Reader:
    """How to read one value: which fields are allowed, how texts are read, and the problems so far."""

    def __init__(self, *, strict: bool, texts: bool) -> None:
        self.strict = strict
        self.texts = texts
        self.problems: list[Problem] = []

    def refuse(self, field: str, message: str) -> None:
        self.problems.append(Problem(field, message))


_Decoder = Callable[[Any, str, _Reader], Any]


def from_json(kind: type[T], value: object, *, strict: bool = False, texts: bool = False) -> T:
    """Return the request or result that JSON holds.

    Parameters: `strict` refuses unknown fields; a client leaves it off, because the server may be newer. `texts` says
    that all values are texts, as those of a query.
    Raises: Unfit, naming each wrong field; TypeError for a kind that the API does not have.
    """
    reader = _Reader(strict=strict, texts=texts)
    found = _decoder(kind)(value, "", reader)
    if reader.problems:
        raise Unfit(tuple(reader.problems))
    return cast("T", found)


@cache
def _decoder(hint: Any) -> _Decoder:
    if is_record(hint):
        return _record(hint)
    if get_origin(hint) is tuple:
        return _sequence(_decoder_or_null(get_args(hint)[0]))
    if get_origin(hint) is not None and issubclass(get_origin(hint), Mapping):
        return _mapping(*get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _choice(hint)
    if hint in _SIMPLE:
        return _SIMPLE[hint]
    if hint in {object, Any}:
        return lambda value, _field, _reader: value
    raise TypeError(f"the API has no {hint}")


def _decoder_or_null(hint: Any) -> _Decoder:
    inner, nullable = without_none(hint)
    decode = _decoder(inner)
    if not nullable:
        return decode
    return lambda value, field, reader: None if value is None else decode(value, field, reader)


# -- objects ------------------------------------------------------------------------------------------------------


def _record(kind: type[Any]) -> _Decoder:
    known, shape = fields_of(kind), shape_of(kind)
    keys = frozenset(_keys(known))

    def decode(value: Any, path: str, reader: _Reader) -> Any:
        if not isinstance(value, dict):
            return reader.refuse(path, "it must be an object")
        given = cast("dict[str, Any]", value)
        if reader.strict:
            for key in given.keys() - keys:
                reader.refuse(_below(path, key), "it is unknown")
        if any(given.get(key) is None and given.get(other) is not None for key, other in shape.else_from.items()):
            given = {**given, **{key: given[other] for key, other in shape.else_from.items()}}
        before = len(reader.problems)
        values = _values(known, given, path, reader)
        return kind(**values) if len(reader.problems) == before else None

    return decode


def _keys(known: tuple[WireField, ...]) -> list[str]:
    return [key for f in known for key in (_keys(f.flat) if f.flat else [f.key])]


def _values(known: tuple[WireField, ...], given: Mapping[str, Any], path: str, reader: _Reader) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for f in known:
        if f.flat:
            if f.nullable and all(given.get(key) is None or given[key] is False for key in _keys(f.flat)):
                continue
            before = len(reader.problems)
            parts = _values(f.flat, given, path, reader)
            values[f.name] = f.hint(**parts) if len(reader.problems) == before else None
        elif f.key not in given:
            if f.required:
                reader.refuse(_below(path, f.key), "it is missing")
            elif f.default is None:
                values[f.name] = None
        else:
            values[f.name] = _value(f, given[f.key], _below(path, f.key), reader)
    return values


def _value(f: WireField, value: Any, path: str, reader: _Reader) -> Any:
    if value is None:
        if f.emptied:
            return ""
        if not f.nullable:
            reader.refuse(path, "it must not be null")
        return None
    return _decoder(f.hint)(value, path, reader)


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


# -- lists and values ---------------------------------------------------------------------------------------------


def _sequence(decode: _Decoder) -> _Decoder:
    def read(value: Any, path: str, reader: _Reader) -> Any:
        if not isinstance(value, list):
            return reader.refuse(path, "it must be a list")
        return tuple(decode(v, f"{path}[{n}]", reader) for n, v in enumerate(cast("list[Any]", value)))

    return read


def _mapping(key_hint: Any, value_hint: Any) -> _Decoder:
    key_of, value_of = _decoder(key_hint), _decoder_or_null(value_hint)

    def read(value: Any, path: str, reader: _Reader) -> Any:
        if not isinstance(value, dict):
            return reader.refuse(path, "it must be an object")
        items = cast("dict[str, Any]", value).items()
        return {key_of(k, _below(path, k), reader): value_of(v, _below(path, k), reader) for k, v in items}

    return read


def _choice(kind: type[Enum]) -> _Decoder:
    members = {member.value: member for member in kind}

    def read(value: Any, path: str, reader: _Reader) -> Any:
        found = members.get(value) if isinstance(value, str) else None
        if found is None:
            reader.refuse(path, f"it must be one of: {', '.join(members)}")
        return found

    return read


def _text(value: Any, path: str, reader: _Reader) -> Any:
    if not isinstance(value, str):
        return reader.refuse(path, "it must be a string")
    if "\0" in value:
        return reader.refuse(path, "it must not hold the character NUL (U+0000)")
    try:
        value.encode()
    except UnicodeEncodeError:
        return reader.refuse(path, "it must be valid Unicode, without a lone surrogate")
    return composed(value) if reader.strict else value


def _secret(value: Any, path: str, reader: _Reader) -> Any:
    # The rule for passwords says what to do about a NUL.
    found = _text(value.replace("\0", "") if isinstance(value, str) else value, path, reader)
    return None if found is None else Secret(value)


def _integer(value: Any, path: str, reader: _Reader) -> Any:
    if reader.texts and isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit():
        value = int(value) if len(value) < 20 else value
    if type(value) is not int:
        return reader.refuse(path, "it must be an integer")
    return value


def _number(value: Any, path: str, reader: _Reader) -> Any:
    if type(value) not in {int, float}:
        return reader.refuse(path, "it must be a number")
    return float(value)


def _truth(value: Any, path: str, reader: _Reader) -> Any:
    if reader.texts:
        value = {"true": True, "false": False}.get(value, value)
    if not isinstance(value, bool):
        return reader.refuse(path, "it must be true or false")
    return value


def _uuid(value: Any, path: str, reader: _Reader) -> Any:
    try:
        return UUID(value)
    except (ValueError, TypeError, AttributeError):
        return reader.refuse(path, "it must be a UUID")


def _moment(value: Any, path: str, reader: _Reader) -> Any:
    try:
        # Python before 3.11 reads no Z.
        found = datetime.fromisoformat(value.replace("Z", "+00:00").replace("z", "+00:00"))
        if found.tzinfo is not None:
            return found.astimezone(timezone.utc)
    except (ValueError, TypeError, AttributeError, OverflowError):
        pass
    return reader.refuse(path, "it must be a time in RFC 3339, such as 2026-01-31T12:00:00Z")


_SIMPLE: dict[Any, _Decoder] = {
    str: _text,
    Secret: _secret,
    int: _integer,
    float: _number,
    bool: _truth,
    UUID: _uuid,
    datetime: _moment,
}
