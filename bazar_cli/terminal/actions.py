"""Annotations and the summary of a step in GitHub Actions.

Workflow commands and their escapes: docs.github.com, "Workflow commands for GitHub Actions".
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from bazar_cli.terminal.escape import escaped

_SUMMARY = "GITHUB_STEP_SUMMARY"
_MARKUP = frozenset("\\`*_|<>[]#&~$")


def is_active(environ: Mapping[str, str]) -> bool:
    """Say whether this process runs as a step of GitHub Actions."""
    return environ.get("GITHUB_ACTIONS") == "true"


def annotation(title: str, lines: Sequence[str]) -> str:
    """Return the workflow command that shows an error as an annotation of these lines."""
    named = _encoded(title).replace(":", "%3A").replace(",", "%2C")
    return f"::error title={named}::{'%0A'.join(map(_encoded, lines))}"


def add_to_summary(environ: Mapping[str, str], title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Append a table of two columns to the summary of the step, if it has one. Raises: OSError."""
    path = environ.get(_SUMMARY)
    if not path or not is_active(environ):
        return
    table = [f"| {_cell(name)} | {_cell(text)} |" for name, text in rows]
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o666)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write("\n".join([f"### {_cell(title)}", "", "| | |", "|---|---|", *table, "", ""]))


def _encoded(text: str) -> str:
    return escaped(text).replace("%", "%25")


def _cell(text: str) -> str:
    """Return a text for one cell, without markup."""
    return "".join(f"&#{ord(c)};" if c in _MARKUP else c if c.isprintable() else " " for c in text)
