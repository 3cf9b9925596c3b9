"""docs/errors.md lists every error code, with its exit code, and no other."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from typing import TypeGuard

from bazar_cli import DOCUMENTATION
from bazar_cli.domain import errors
from bazar_cli.domain.errors import BazarError, ExitCode
from bazar_cli.terminal.error_texts import address, meanings
from tests.contracts.generate import ERROR_ROW, ERRORS, ROOT

PAGE = ROOT / ERRORS
_EXIT = {
    kind.__name__: int(kind.exit_code)
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, BazarError)
}
_CODE = re.compile(r"[a-z_]+\.[a-z_]+")
# A denial, and functions that make an error of the code that they are given.
_OTHERS = {
    "Denial": "Denied",
    "as_error": "UsageError",
    "call_refused": "Conflict",
    "outcome_unknown": "BackendUnavailable",
    "Word": "Refused",
    "Unserved": "UsageError",
    "NoRoute": "NotFound",
    "check_version": "Conflict",
}
_FINDINGS = ("Finding", "_add_findings")
"""A finding is an error of the whole file; with the code of another error it has that one's meaning."""
_MAKERS = (
    _EXIT
    | {name: _EXIT[kind] for name, kind in _OTHERS.items()}
    | dict.fromkeys(_FINDINGS, int(ExitCode.USAGE))
    | {"Ended": int(ExitCode.PARTIAL)}
)
"""A row that ended as failed makes the command end with its exit code."""
_UNEXPECTED = {"internal.unexpected": 1}
"""The code of an exception that nobody expected."""


@lru_cache(maxsize=1)
def raised() -> dict[str, int]:
    """Every code that the sources give to an error, with the exit code of that error."""
    found = dict(_UNEXPECTED)
    for path in (ROOT / "bazar_cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            # The error itself, or a row of a table of errors, which has the class and the code.
            names = [_name(n) for n in (node.func, *node.args) if _is_name(n)]
            kinds = [name for name in names if name in _MAKERS]
            values = [v.value for v in (*node.args, *(k.value for k in node.keywords)) if isinstance(v, ast.Constant)]
            codes = [v for v in values if isinstance(v, str) and _CODE.fullmatch(v)]
            if kinds and codes and kinds[0] in _FINDINGS:
                found.setdefault(codes[0], _MAKERS[kinds[0]])
            elif kinds and codes:
                found[codes[0]] = _MAKERS[kinds[0]]
    return found


def _is_name(node: ast.AST) -> TypeGuard[ast.Name | ast.Attribute]:
    return isinstance(node, (ast.Name, ast.Attribute))


def _name(node: ast.Name | ast.Attribute) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id


def test_list_has_every_code_and_no_other() -> None:
    rows = ERROR_ROW.findall(PAGE.read_text())
    listed = {code: int(number) for code, number, _ in rows}
    assert [code for code, _, _ in rows] == sorted(listed), "a code stands twice, or out of order"
    assert listed == raised()


def test_each_code_has_its_anchor_which_the_address_names() -> None:
    anchors = re.findall(r'^\| <a id="([^"]+)"></a>`([^`]+)` \|', PAGE.read_text(), re.M)
    assert [anchor for anchor, _ in anchors] == [code for _, code in anchors] == sorted(raised())
    page, _, anchor = address("users.not_found").partition("#")
    assert page == f"{DOCUMENTATION}/{PAGE.relative_to(ROOT / 'docs')}"
    assert anchor == "users.not_found"


def test_help_knows_each_code_with_the_meaning_of_the_page() -> None:
    assert meanings() == {code: (number, text) for code, number, text in ERROR_ROW.findall(PAGE.read_text())}


def test_codes_have_the_form_noun_reason() -> None:
    calls = [
        node
        for path in (ROOT / "bazar_cli").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and _is_name(node.func) and _name(node.func) in _EXIT and node.args
    ]
    codes = [call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)]
    assert len(codes) > 100
    assert [code for code in codes if not _CODE.fullmatch(str(code))] == []


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
