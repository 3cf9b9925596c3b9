"""The renderer: to whom nobody listens, and texts that another program reads back."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Generator, Iterator
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from bazar_cli.domain.page import Page
from bazar_cli.domain.spreadsheets import neutralised, restored
from bazar_cli.terminal.output import Format, Renderer
from bazar_cli.terminal.streams import Results
from bazar_cli.terminal.views.base import View
from bazar_cli.terminal.yaml_text import yaml_text

WORDS = View[str](computed={"word": lambda word: word}, identifier=lambda word: word)
LINES = View[str](computed={"line": lambda line: line}, raw=lambda line: line)
PAGES = 50


@pytest.fixture
def unread() -> Generator[Results]:
    """Standard output whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    with Results(writer) as stream:
        yield stream


@pytest.mark.parametrize(("view", "form"), [*((WORDS, form) for form in Format), (LINES, Format.TABLE)])
def test_list_that_nobody_reads_ends_early(unread: Results, form: Format, view: View[str]) -> None:
    fetched = 0

    def pages() -> Iterator[Page[str]]:
        nonlocal fetched
        for _ in range(PAGES):
            fetched += 1
            yield Page(("x" * 5000,), None)

    Renderer(form, None, {}, unread).pages(view, pages())
    assert fetched < PAGES / 10
    assert isinstance(unread.lost, BrokenPipeError)


@pytest.mark.parametrize("form", list(Format))
def test_result_that_nobody_reads_is_lost_quietly(unread: Results, form: Format) -> None:
    renderer = Renderer(form, None, {}, unread)
    renderer.one(WORDS, "x")
    renderer.one(WORDS, "y")
    assert isinstance(renderer.lost, BrokenPipeError)


# -- YAML ---------------------------------------------------------------------------------------------------

NO_STRINGS = [
    *("1e3", "0o17", "0x1F", "0b1", "017", "08", "1_000", "+1", "-1", "1.", ".5", "-.5e3", "1e+3", "1.e1"),
    *(".inf", "-.Inf", ".NAN", "nan", "inf", "Infinity", "190:20:30", "12:30:45", "y", "Y", "n", "N"),
    *("yes", "No", "ON", "off", "true", "False", "TRUE", "null", "NULL", "Null", "~", "None", "=", "<<"),
    *("2001-01-01", "2001-12-14t21:59:43.10-05:00", "2001-12-14T21:59:43Z", "-", "?", ":", "--", "---"),
    *("...", "!", "&", "*", "|", ">", "%", "@", "`", "#", ",", "[", "]", "{", "}", "!!str", "!a", "&a"),
    *("*a", "|-", ">+", "a:", ":a", "a#b", "-a", "?a"),
]
"""What some reader of YAML takes for a number, a truth value, nothing, a date, a merge key, or a sign of YAML's own."""
STRINGS = (
    st.sampled_from(["", " ", " a", "a ", "a: b", "a #b", "a:\tb", "a\n", "\na", "a\n\nb", "a\x85b", "\ufeffa"])
    | st.sampled_from(NO_STRINGS)
    | st.text(st.sampled_from("0123456789+-._:eExXoObBaAnNfFiIyYtTzZ~=< #,\"'"), max_size=12)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | STRINGS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(STRINGS, inner, max_size=4),
    max_leaves=8,
)


def read_by_all(text: str) -> tuple[Any, Any]:
    """Return what a reader of YAML 1.1 and one of YAML 1.2 understand."""
    reader: Any = YAML(typ="safe", pure=True)
    return yaml.safe_load(text), reader.load(text)


@given(VALUES, st.booleans())
@example(NO_STRINGS, True)
@example(dict.fromkeys(NO_STRINGS), True)
@example(["ab " * 100, "a" * 300, "-" * 300], True)
@settings(deadline=None)
def test_yaml_is_read_back_as_it_was_by_readers_of_both_versions(value: Any, unicode: bool) -> None:
    text = yaml_text(value, unicode=unicode)
    for found in read_by_all(text):
        assert repr(found) == repr(value)


@pytest.mark.parametrize("word", ["acme", "Ada Lovelace", "ada@example.com", "users:read", "yesterday", "Jürgen"])
def test_plain_words_stay_without_quotes_in_yaml(word: str) -> None:
    assert yaml_text({"word": word}, unicode=True) == f"word: {word}\n"


# -- CSV ----------------------------------------------------------------------------------------------------

SIGNS = "=+-@＝＋－＠"
CELLS = st.text(st.sampled_from(f"{SIGNS}'\"a1 ;,\t\r\n\x00\u200b\u3000\ufeff|"), max_size=12) | st.text(max_size=40)


@given(CELLS)
@example("''=1")
@example(";'\n'\t'=1")
def test_exported_cell_is_restored(cell: str) -> None:
    assert restored(neutralised(cell)) == cell


@given(st.lists(CELLS, min_size=1, max_size=4), st.sampled_from(",;\t"))
@example(["acme", "x;=1+1"], ";")
@example(["acme", 'x;"=1+1'], ";")
@example(["acme", "x\n=1+1"], ";")
def test_no_program_finds_a_formula_whatever_its_separator(cells: list[str], separator: str) -> None:
    text = io.StringIO()
    csv.writer(text).writerow([neutralised(cell) for cell in cells])
    for row in csv.reader(io.StringIO(text.getvalue(), newline=""), delimiter=separator):
        for found in row:
            seen = re.sub(r'[\s\x00-\x1f\x7f-\x9f\u200b\ufeff"]', "", found)
            assert not seen.startswith(tuple(SIGNS)), (found, text.getvalue())


@pytest.mark.parametrize("cell", ["a-b", "acme:owner;beta:member", "a, b", "ada+x@example.com", "1 = 1", "O'Brien"])
def test_ordinary_cell_stays_as_it_is(cell: str) -> None:
    assert neutralised(cell) == cell


@pytest.mark.parametrize("cell", ["'s-Hertogenbosch", "'t Hooft", "O'Brien", "a;'b"])
def test_quote_of_another_program_is_not_removed(cell: str) -> None:
    assert restored(cell) == cell
