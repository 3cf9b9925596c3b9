"""How the error about a file shows its findings: some in its text, more in its details, and the number of all."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN = 20
"""Findings in the text of the error."""
DETAILED = 100
"""Findings in its details."""


def as_lines(texts: Sequence[str], count: int) -> list[str]:
    """Return the first findings as lines, and how many more there are. Parameters: `count` is the number of all."""
    shown = list(texts[:SHOWN])
    return shown if count <= len(shown) else [*shown, f"and {count - len(shown)} more"]
