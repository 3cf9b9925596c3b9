"""Completion of a command line: what could stand where the cursor is."""

from __future__ import annotations


def complete(words: list[str]) -> str:
    """Return the candidates for the last of `words`, one `value<TAB>help` a line."""
    raise NotImplementedError
