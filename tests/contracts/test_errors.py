"""docs/errors.md lists every error code, with its exit code, and no other."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

from bazar_cli.domain import errors
from bazar_cli.domain.errors import BazarError

ROOT = Path(__file__).parents[2]
_EXIT = {
    kind.__name__: int(kind.exit_code)
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, BazarError)
} | {"Denial": 5}
_ROW = re.compile(r"^\| `([a-z_]+\.[a-z_]+)` \| (\d+) \| .+ \|$", re.M)
# Chosen by Supabase's own code, and the one of an exception that nobody expected: no literal argument.
_BY_TABLE = {
    "auth.invalid_credentials": 4,
    "auth.user_banned": 4,
    "auth.email_not_confirmed": 4,
    "internal.unexpected": 1,
}

# Methods that make an error of the code that they are given.
_EXIT_OF_METHOD = {"call_refused": _EXIT["Conflict"], "outcome_unknown": _EXIT["BackendUnavailable"]}


@lru_cache(maxsize=1)
def raised() -> dict[str, int]:
    """Every code that the sources give to an error, with the exit code of that error."""
    found = dict(_BY_TABLE)
    for path in (ROOT / "bazar_cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            kind, args = node.func, node.args
            if args and isinstance(args[0], ast.Name) and args[0].id in _EXIT:
                kind, args = args[0], args[1:]  # a row of a table of errors: the class, then the code
            if isinstance(kind, ast.Name):
                exit_code = _EXIT.get(kind.id)
            else:
                exit_code = _EXIT_OF_METHOD.get(kind.attr) if isinstance(kind, ast.Attribute) else None
            if exit_code is None:
                continue
            given = [*args[:1], *(k.value for k in node.keywords if k.arg == "code")]
            for value in given:
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    found[value.value] = exit_code
    return found


def test_list_is_complete_and_has_nothing_else() -> None:
    rows = _ROW.findall((ROOT / "docs" / "errors.md").read_text())
    listed = {code: int(number) for code, number in rows}
    assert [code for code, _ in rows] == sorted(listed), "a code stands twice, or out of order"
    assert listed == raised()


def test_table_codes_are_in_the_sources() -> None:
    text = "\n".join(path.read_text() for path in (ROOT / "bazar_cli").rglob("*.py"))
    assert all(f'"{code}"' in text for code in _BY_TABLE)


def test_codes_have_the_form_noun_reason() -> None:
    assert all(re.fullmatch(r"[a-z_]+\.[a-z_]+", code) for code in raised())


def test_hints_name_commands_that_exist() -> None:
    from tests.support.tree import ALL

    groups = {name.rpartition(" ")[0] for name in ALL}
    quoted: set[str] = set()
    for path in (ROOT / "bazar_cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                quoted |= set(re.findall(r"`bazar ((?:[a-z][a-z-]* ?)+)", node.value))
    unknown = {
        words
        for words in (q.strip() for q in quoted)
        if not any(words == name or words.startswith(f"{name} ") for name in ALL) and words not in groups
    }
    assert not unknown
