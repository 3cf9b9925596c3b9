"""Every value of every command line: text is normalized, and what names a file or holds a password is not."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from bazar_cli.domain.texts import BYTE_ORDER_MARK, Verbatim
from tests.support.tree import ALL, command, kind_of

DECOMPOSED, COMPOSED = "Zoe\u0308", "Zo\u00eb"
VERBATIM = {
    *((f"{noun} export", "file") for noun in ("audit", "orgs", "users")),
    ("apply", "file"),
    ("apply", "plan"),
    ("batch", "file"),
    ("diff", "file"),
    ("diff", "out"),
    ("db seed", "file"),
    ("local start", "database_url"),
    ("users import", "file"),
    ("users import", "results"),
}
"""What is no text, though it may be something else than a path: `-` for a pipe, a URL with a password."""


@pytest.mark.parametrize("name", ALL)
def test_text_is_normalized_and_a_path_is_not(name: str) -> None:
    words, leaf = ALL[name]
    found = command(words, leaf)
    given = f"{BYTE_ORDER_MARK}{DECOMPOSED}"
    parameters = {str(p.name): p for p in found.params if p.name != "help"}
    line: list[str] = []
    behind: list[str] = []
    for parameter in parameters.values():
        kind = kind_of(parameter)
        value = given if kind in {str, Path, Verbatim} else sample(kind)
        if parameter.param_type_name == "argument":
            behind.append(value)
        elif kind is not bool:
            line += [parameter.opts[0], value]

    with found.make_context(name, [*line, "--", *behind]) as context:
        parsed = context.params

    for parameter in parameters.values():
        kind, value = kind_of(parameter), parsed[str(parameter.name)]
        if kind is str:
            assert value in (COMPOSED, [COMPOSED]), parameter.name
        elif kind in {Path, Verbatim}:
            assert str(value) == given, parameter.name
    assert {(name, key) for key, p in parameters.items() if kind_of(p) is Verbatim} == {
        pair for pair in VERBATIM if pair[0] == name
    }


def sample(kind: Any) -> str:
    return str(next(iter(kind)).value) if issubclass(kind, Enum) else "1"
