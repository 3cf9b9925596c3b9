"""YAML and JSON as trees: the places of values, and every document that is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bazar_cli.adapters import documents
from bazar_cli.adapters.documents import read_document, read_json
from bazar_cli.domain.declared.nodes import Entry, Node, OtherScalar, UnreadableDocument

PLAIN = st.recursive(
    st.none() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)
"""Values that a state file may hold."""


def plain(node: Node) -> Any:
    """Return the value of a tree without places."""
    if isinstance(node.value, dict):
        return {key: plain(entry.node) for key, entry in node.value.items()}
    return [plain(item) for item in node.value] if isinstance(node.value, list) else node.value


@settings(deadline=None)
@given(PLAIN, st.sampled_from((None, 2)))
def test_json_is_read_as_the_standard_library_reads_it(value: Any, indent: int | None) -> None:
    for ascii_only in (True, False):
        assert plain(read_json(json.dumps(value, indent=indent, ensure_ascii=ascii_only))) == value


@settings(deadline=None)
@given(st.dictionaries(st.text(st.characters(codec="utf-8")), PLAIN, min_size=1, max_size=3))
def test_yaml_is_read_as_its_library_reads_it(value: Any) -> None:
    written = yaml.safe_dump(value)
    with suppress(UnreadableDocument):  # of texts with characters that YAML does not allow
        assert plain(read_document(written)) == yaml.safe_load(written)


@settings(deadline=None)
@given(st.text() | st.sampled_from(("[" * 100_000, "- " * 100_000, "{a: " * 100_000, "? " * 100_000, '"' + "\\" * 9)))
def test_no_text_is_a_bug(text: str) -> None:
    for read in (read_document, read_json):
        with suppress(UnreadableDocument):
            read(text)


def test_values_have_their_lines_and_columns() -> None:
    tree = read_document("users:\n  - email: a@b\n    plan: free\n")
    assert isinstance(tree.value, dict)
    users = tree.value["users"].node
    assert isinstance(users.value, list)
    assert users.value[0].value == {
        "email": Entry((2, 5), Node("a@b", (2, 12))),
        "plan": Entry((3, 5), Node("free", (3, 11))),
    }
    tree = read_document('{\n "users": [{"email":\n"a@b"}]}')
    assert isinstance(tree.value, dict)
    assert (tree.value["users"].at, tree.value["users"].node.at) == ((2, 2), (2, 11))
    listed = tree.value["users"].node.value
    assert isinstance(listed, list)
    (first,) = listed
    assert first == Node({"email": Entry((2, 13), Node("a@b", (3, 1)))}, (2, 12))


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("no", "a boolean"),
        ("true", "a boolean"),
        ("12", "a number"),
        ("1.5", "a number"),
        ("2026-01-02", "a date"),
        ("<<", "a merge key"),
        ("=", "the sign ="),
    ],
)
def test_plain_scalar_of_another_type_is_no_text(written: str, kind: str) -> None:
    tree = read_document(f"a: {written}\nb: '{written}'")
    assert plain(tree) == {"a": OtherScalar(kind), "b": written}


def test_words_for_nothing_are_null() -> None:
    assert plain(read_document("a: null\nb: ~\nc:\nd: 'null'")) == {"a": None, "b": None, "c": None, "d": "null"}
    assert plain(read_document("")) is None
    assert plain(read_document("# a comment\n")) is None


BOMB = "a: &a [x, x]\n" + "".join(f"{n}: &{n} [*{p}, *{p}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True))
REFUSED = {
    "a key twice": ("a: 1\nb: 2\na: 3", "line 3 column 1: an object has the key 'a' twice"),
    "a key of JSON twice": ('{"a": 1,\n"a": 2}', "line 2 column 1: an object has the key 'a' twice"),
    "an alias": ("a: &x [1]\nb: *x", "line 2 column 4: the alias *x is not read"),
    "aliases of aliases": (BOMB, "line 2 column 8: the alias *a is not read"),
    "a merge": ("a: &x {b: c}\nd:\n  <<: *x", "line 3 column 3: a key is a text, not a merge key"),
    "a tag of Python": ("a: !!python/object/apply:os.system [id]", "the tag tag:yaml.org,2002:python/object/apply:os"),
    "another tag": ("a: !thing b", "line 1 column 4: the tag !thing is not read"),
    "a tag of a text": ("a: !!str 12", "line 1 column 4: the tag tag:yaml.org,2002:str is not read"),
    "bytes": ("a: !!binary aGk=", "line 1 column 4: the tag"),
    "two documents": ("a: 1\n---\nb: 2", "line 2 column 1: a second document begins"),
    "a key that is a list": ("? [a]\n: b", "line 1 column 3: a key is a text, not a list"),
    "a key that is a number": ("1: b", "line 1 column 1: a key is a text, not a number"),
    "deep YAML": ("- " * 3000 + "a", "it is nested too deeply"),
    "deep flow": ("a: " + "[" * 100_000, "it is nested too deeply"),
    "deep JSON": ("[" * 100_000, "it is nested too deeply"),
    "NUL": ("a:\n - \0", "line 2 column 4: the character U+0000 is not allowed"),
    "a tab": ("a:\n\t- b", "line 2 column 1: found character that cannot start any token"),
    "an open list": ("a: [b", "line 2 column 1: did not find expected ',' or ']'"),
    "half of a pair": ("a: \ud800", "it has half of a surrogate pair"),
    "a trailing comma": ('{"a": 1,}', "line 1 column 9: a key in double quotes is expected"),
    "a wrong word": ('{"a": nul}', "line 1 column 7: a value is expected"),
    "no colon": ('{"a" 1}', "line 1 column 6: a colon is expected"),
    "no comma": ("[1 2]", "line 1 column 4: a comma or ] is expected"),
    "an open text": ('{"a": "b', "line 1 column 7: Unterminated string"),
    "more behind": ("{} {}", "line 1 column 4: there is more behind the value"),
    "a long number": ('{"a": ' + "9" * 301 + "}", "line 1 column 7: a number has 301 digits"),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED)
def test_document_is_refused_with_the_place(text: str, reason: str) -> None:
    with pytest.raises(UnreadableDocument) as raised:
        read_document(text)
    assert reason in raised.value.reason


def test_nesting_up_to_the_limit_is_read() -> None:
    assert plain(read_json("[" * 20 + "]" * 20)) is not None
    with pytest.raises(UnreadableDocument):
        read_json("[" * 21 + "]" * 21)


@pytest.mark.parametrize("text", ["[[], [], []]", "- []\n- a\n- b\n"], ids=["JSON", "YAML"])
def test_document_of_more_values_than_the_limit_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_MOST_VALUES", 4)
    assert plain(read_document(text)) is not None
    monkeypatch.setattr(documents, "_MOST_VALUES", 3)
    with pytest.raises(UnreadableDocument) as raised:
        read_document(text)
    assert "values" in raised.value.reason


def test_without_libyaml_the_same_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a: [b, {c: d}]\ne: 'f'", *(text for text, _ in REFUSED.values() if not text.startswith(("{", "[")))]
    by_library = [_answer(text) for text in texts]
    monkeypatch.delattr(yaml, "CSafeLoader")
    for text, expected in zip(texts, by_library, strict=True):
        assert type(_answer(text)) is type(expected), text
    assert _answer(texts[0]) == by_library[0]


def _answer(text: str) -> object:
    try:
        return read_document(text)
    except UnreadableDocument as error:
        return error
