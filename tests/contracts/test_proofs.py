"""docs/proofs.md names tests that are there."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "proofs.md"
_NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
_FOLDER = Path("tests/cli/escalations")
"""Where a file is that the page names without a folder."""


@lru_cache
def names_in(path: Path) -> frozenset[str]:
    return frozenset(node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef))


def test_every_test_that_the_page_names_is_there() -> None:
    named = _NAMED.findall(PAGE.read_text())
    assert len(named) > 40
    missing = [
        f"{file}::{test}"
        for file, test in named
        if test not in names_in(ROOT / (file if "/" in file else _FOLDER / file))
    ]
    assert missing == []
