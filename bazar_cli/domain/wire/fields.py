"""The fields of a dataclass as its JSON has them, found by its type hints once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from bazar_cli.domain.wire.shapes import AGREED, CONFIRM, VERSION, inside, named, shape_of


@dataclass(frozen=True)
class WireField:
    """One field of a dataclass, or a flat part, whose fields stand in its place."""

    name: str
    """The attribute."""
    key: str
    """The name in JSON; meaningless for a flat part."""
    hint: Any
    """The type, without None."""
    nullable: bool
    required: bool
    default: Any
    """Its value where it is left out; meaningless for a required one."""
    emptied: bool = False
    """JSON's null is the empty text."""
    flat: tuple[WireField, ...] = ()


@cache
def fields_of(kind: type[Any]) -> tuple[WireField, ...]:
    """Return the fields of a dataclass in order, without those that are headers. Raises: TypeError."""
    return _fields(kind, {})


def all_fields(kind: type[Any]) -> tuple[WireField, ...]:
    """Return the fields with the parts of flat ones, as they stand side by side in JSON."""
    return tuple(_spread(fields_of(kind)))


def _spread(found: tuple[WireField, ...]) -> list[WireField]:
    return [one for f in found for one in (_spread(f.flat) if f.flat else [f])]


def _fields(kind: type[Any], renamed: Mapping[str, str]) -> tuple[WireField, ...]:
    shape, hints = shape_of(kind), get_type_hints(kind)
    found: list[WireField] = []
    for f in fields(kind):
        if f.name in {AGREED, VERSION}:
            continue
        hint, nullable = without_none(str | None if f.name == CONFIRM else hints[f.name])
        default = None if f.name == CONFIRM else _default(f)
        flat = _fields(hint, inside(shape, f.name)) if f.name in shape.flat else ()
        key = renamed.get(f.name) or named(shape, f.name)
        required = default is MISSING
        found.append(WireField(f.name, key, hint, nullable, required, default, f.name in shape.emptied, flat))
    return tuple(found)


def _default(f: Field[Any]) -> Any:
    return f.default_factory() if f.default_factory is not MISSING else f.default


def without_none(hint: Any) -> tuple[Any, bool]:
    """Return a type without None, and whether it allowed None. Raises: TypeError for another union."""
    if get_origin(hint) not in {Union, UnionType}:
        return hint, False
    others = [part for part in get_args(hint) if part is not NoneType]
    if len(others) != 1 or len(get_args(hint)) != 2:
        raise TypeError(f"the API has no {hint}")
    return others[0], True


def is_record(hint: Any) -> bool:
    """Whether a type is a dataclass, which is an object in JSON."""
    return isinstance(hint, type) and is_dataclass(hint)
