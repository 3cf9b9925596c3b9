"""Errors and messages: what breaks a line in the data that they quote never starts a line of its own."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bazar_cli.domain.errors import UsageError
from bazar_cli.terminal.redact import Redactor
from bazar_cli.terminal.reports import Reporter
from bazar_cli.terminal.streams import say

BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
"""What `str.splitlines` takes for the end of a line, and with it many programs."""
FORGED = "".join(f"{character}hint: do this\n::error::\n" for character in BREAKS)
TEXTS = st.text(st.sampled_from(f"{BREAKS}\x00\x1b\u202eab: \ud800")) | st.text()


def told(error: UsageError, *, machine: bool = False, debug: bool = False, annotates: bool = False) -> list[str]:
    """Report an error and return the lines of standard error."""
    reporter = Reporter("r-1", machine=machine, debug=debug, redactor=Redactor({}))
    reporter.annotates = annotates
    with redirect_stderr(io.StringIO()) as stream:
        assert reporter.report(error) == 2
    return stream.getvalue().splitlines()


@given(TEXTS, TEXTS.filter(bool), st.lists(TEXTS, max_size=2))
@example(FORGED, FORGED, [FORGED])
def test_error_has_the_lines_that_its_parts_make(message: str, hint: str, below: list[str]) -> None:
    error = UsageError("usage.invalid", message, hint=hint, below=below)
    lines = told(error)
    assert [line[:7] for line in (lines[0], lines[-1])] == ["error: ", "hint: " + lines[-1][6:7]]
    assert [line[:2] for line in lines[1:-1]] == ["  "] * len(below)
    annotation, *rest = told(error, annotates=True)
    assert annotation.startswith("::error title=usage.invalid::")
    assert rest == lines
    (line,) = told(error, machine=True)
    shown = json.loads(line)["error"]
    assert (shown["message"], shown["hint"]) == (error.message, hint)


def test_traceback_starts_no_line_like_an_error() -> None:
    try:
        raise UsageError("usage.invalid", FORGED, hint="look") from ValueError(FORGED)
    except UsageError as error:
        *trace, message, hint = told(error, debug=True)
    assert {line[:2] for line in trace} == {"| "}
    assert (message[:7], hint) == ("error: ", "hint: look")


@given(TEXTS)
def test_message_is_one_line(text: str) -> None:
    with redirect_stderr(io.StringIO()) as stream:
        say(text)
    assert len(stream.getvalue().splitlines()) == 1


@pytest.mark.parametrize("character", [*BREAKS, "\x00", "\x1b", "\x7f", "\u202e"])
def test_character_that_moves_the_cursor_is_shown_as_an_escape(character: str) -> None:
    (message, _) = told(UsageError("usage.invalid", f"a{character}b", hint="look"))
    assert message.startswith("error: a\\")
