"""YAML and JSON as trees whose values have a line and a column. Only plain values are read: no tags, no aliases."""

from __future__ import annotations

import json.decoder
import re
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, cast

from bazar_cli.domain.declared.nodes import Entry, Node, OtherScalar, Place, UnreadableDocument, Value, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_scan_string = cast("Callable[[str, int, bool], tuple[str, int]]", cast("Any", json.decoder).scanstring)
"""Reads a JSON string up to its closing quote; returns the text and the place behind it."""
_DEEPEST = 20
"""Levels of nesting; the deepest shape that is read has 6."""
_MOST_VALUES = 3_000_000
"""Values of a document; 100,000 users with 25 values each have fewer. They take about 500 MB."""
_MOST_DIGITS = 300
_TOO_DEEP = "it is nested too deeply"
_TOO_MANY = f"it has more than {_MOST_VALUES} values"
_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_WORDS: dict[str, Value] = {"null": None, "true": OtherScalar("a boolean"), "false": OtherScalar("a boolean")}
_KINDS = {
    "bool": "a boolean",
    "int": "a number",
    "float": "a number",
    "timestamp": "a date",
    "merge": "a merge key",
    "value": "the sign =",
}
"""Kinds of plain scalars of YAML 1.1 other than texts and null."""


def read_document(text: str) -> Node:
    """Return the tree of a document: JSON if it begins with `{` or `[`, else YAML. Raises: UnreadableDocument."""
    return read_json(text) if text.lstrip()[:1] in {"{", "["} else _read_yaml(text)


def read_json(text: str) -> Node:
    """Return the tree of a JSON text. Raises: UnreadableDocument, also for a key that an object has twice."""
    return _Json(text).document()


class _Json:
    """A parser of one JSON text that keeps the places of all values."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._values = 0
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]

    def document(self) -> Node:
        try:
            node, end = self._value(self._skip(0), 0)
        except json.JSONDecodeError as error:
            raise UnreadableDocument(error.msg, (error.lineno, error.colno)) from error
        end = self._skip(end)
        if end < len(self._text):
            raise self._fault("there is more behind the value", end)
        return node

    def _place(self, index: int) -> Place:
        line = bisect_right(self._lines, index)
        return line, index - self._lines[line - 1] + 1

    def _fault(self, reason: str, index: int) -> UnreadableDocument:
        return UnreadableDocument(reason, self._place(index))

    def _skip(self, index: int) -> int:
        match = _SPACE.match(self._text, index)
        return match.end() if match else index

    def _value(self, index: int, depth: int) -> tuple[Node, int]:
        self._values += 1
        if self._values > _MOST_VALUES:
            raise self._fault(_TOO_MANY, index)
        first = self._text[index : index + 1]
        value: Value
        if first == '"':
            value, end = _scan_string(self._text, index + 1, True)
        elif first in {"{", "["} and first:
            if depth == _DEEPEST:
                raise self._fault(_TOO_DEEP, index)
            value, end = (self._object if first == "{" else self._list)(index + 1, depth + 1)
        elif number := _NUMBER.match(self._text, index):
            if (digits := number.end() - index) > _MOST_DIGITS:
                raise self._fault(f"a number has {digits} digits, more than {_MOST_DIGITS}", index)
            value, end = OtherScalar("a number"), number.end()
        else:
            word = next((word for word in _WORDS if self._text.startswith(word, index)), None)
            if word is None:
                raise self._fault("a value is expected", index)
            value, end = _WORDS[word], index + len(word)
        return Node(value, self._place(index)), end

    def _object(self, index: int, depth: int) -> tuple[dict[str, Entry], int]:
        found: dict[str, Entry] = {}

        def entry(start: int) -> int:
            if self._text[start : start + 1] != '"':
                raise self._fault("a key in double quotes is expected", start)
            key, end = _scan_string(self._text, start + 1, True)
            if key in found:
                raise self._fault(_twice(key), start)
            colon = self._skip(end)
            if self._text[colon : colon + 1] != ":":
                raise self._fault("a colon is expected", colon)
            node, end = self._value(self._skip(colon + 1), depth)
            found[key] = Entry(self._place(start), node)
            return end

        return found, self._each(index, "}", entry)

    def _list(self, index: int, depth: int) -> tuple[list[Node], int]:
        found: list[Node] = []

        def item(start: int) -> int:
            node, end = self._value(start, depth)
            found.append(node)
            return end

        return found, self._each(index, "]", item)

    def _each(self, index: int, closing: str, read: Callable[[int], int]) -> int:
        """Read what is between commas up to the closing sign; return the place behind it."""
        index = self._skip(index)
        if self._text[index : index + 1] == closing:
            return index + 1
        while True:
            index = self._skip(read(self._skip(index)))
            sign = self._text[index : index + 1]
            index += 1
            if sign == closing:
                return index
            if sign != ",":
                raise self._fault(f"a comma or {closing} is expected", index - 1)


def _read_yaml(text: str) -> Node:
    """Return the tree of a YAML text. Raises: UnreadableDocument."""
    import yaml

    try:
        return _Yaml(text).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise UnreadableDocument(str(error.problem or error.context), None if mark is None else _at(mark)) from error
    except yaml.reader.ReaderError as error:
        # Its position is in bytes or in characters, as the parser may be.
        before, _, _ = text.partition(chr(error.character))
        place = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise UnreadableDocument(f"the character U+{error.character:04X} is not allowed", place) from error
    except UnicodeEncodeError as error:
        raise UnreadableDocument("it has half of a surrogate pair") from error


def _at(mark: Any) -> Place:
    return mark.line + 1, mark.column + 1


class _Yaml:
    """Builds the tree of one YAML document of the events of its parser, so that nothing is expanded or constructed."""

    def __init__(self, text: str) -> None:
        import yaml

        # The parser of libyaml is about 20 times as fast; the other one is for an installation without it.
        loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self._events: Iterator[Any] = yaml.parse(text, Loader=loader)
        self._resolver: Any = yaml.SafeLoader("")
        self._scalar_node = yaml.ScalarNode
        self._values = 0

    def document(self) -> Node:
        start, opening = next(self._events), next(self._events)
        if _named(opening) != "DocumentStart":
            return Node(None, _at(start.start_mark))
        node = self._node(next(self._events), 0)
        next(self._events)
        following = next(self._events)
        if _named(following) != "StreamEnd":
            raise UnreadableDocument("a second document begins; one is read", _at(following.start_mark))
        return node

    def _node(self, event: Any, depth: int) -> Node:
        at, kind = _at(event.start_mark), _named(event)
        self._values += 1
        if self._values > _MOST_VALUES:
            raise UnreadableDocument(_TOO_MANY, at)
        if kind == "Alias":
            raise UnreadableDocument(f"the alias *{event.anchor[:40]} is not read; write the value again", at)
        if event.tag not in {None, "!"}:
            raise UnreadableDocument(f"the tag {event.tag[:80]} is not read; leave it out", at)
        if kind == "Scalar":
            return Node(self._scalar(event), at)
        if depth == _DEEPEST:
            raise UnreadableDocument(_TOO_DEEP, at)
        return Node(self._mapping(depth + 1) if kind == "MappingStart" else self._sequence(depth + 1), at)

    def _sequence(self, depth: int) -> list[Node]:
        found: list[Node] = []
        while _named(event := next(self._events)) != "SequenceEnd":
            found.append(self._node(event, depth))
        return found

    def _mapping(self, depth: int) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        while _named(event := next(self._events)) != "MappingEnd":
            key = self._node(event, depth)
            if not isinstance(key.value, str):
                raise UnreadableDocument(f"a key is a text, not {kind_of(key.value)}", key.at)
            if key.value in found:
                raise UnreadableDocument(_twice(key.value), key.at)
            found[key.value] = Entry(key.at, self._node(next(self._events), depth))
        return found

    def _scalar(self, event: Any) -> Value:
        if not event.implicit[0]:
            return event.value
        tag: str = self._resolver.resolve(self._scalar_node, event.value, (True, False))
        name = tag.rpartition(":")[2]
        return event.value if name == "str" else None if name == "null" else OtherScalar(_KINDS[name])


def _named(event: Any) -> str:
    return type(event).__name__.removesuffix("Event")


def _twice(key: str) -> str:
    return f"an object has the key {key[:40]!r} twice"
