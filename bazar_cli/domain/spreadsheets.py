"""CSV cells that a spreadsheet would run as a formula: neutralised by exports, restored by imports.

The pattern has the same meaning for Python and Postgres: it names all characters by escapes, and no class such as `\\s`
that depends on the program.
"""

from __future__ import annotations

import re

# The signs that start a formula in a spreadsheet, also in the forms of Asian scripts.
_SIGN = r"=+\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212"
# Characters that some programs skip: spaces, invisible ones, and the quote of a CSV field that begins before this cell.
_UNSEEN = (
    r' "\u0000-\u001f\u007f-\u00a0\u00ad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\u3164\ufeff'
)
FORMULA = rf"\A(?=[\t\r\n])|(?:\A|(?<=[;,\t\r\n]))(?='|[{_UNSEEN}]*[{_SIGN}])"
"""The empty text before a formula, or before a quote that looks like one of bazar's.

A spreadsheet with another list separator than the comma splits at that one and at every line break, even inside the
quotes of a cell.
"""
_formula = re.compile(FORMULA)
_BEGINNING = rf"[{_UNSEEN}]*[{_SIGN}]"
_NEUTRALISED = rf"\A'(?=[\t\r\n])|(?:\A|(?<=[;,\t\r\n]))'(?='|[{_UNSEEN}']*[{_SIGN}])"
"""The quotes of `neutralised`. Not compiled here: only imports need it."""


def neutralised(cell: str) -> str:
    """Return a CSV cell that no spreadsheet runs: with a quote before each text that looks like a formula.

    A quote that the cell has in such a place gets another one.
    """
    return _formula.sub("'", cell)


def begins_a_formula(cell: str) -> bool:
    """Say whether a cell begins as a formula does."""
    return re.match(_BEGINNING, cell) is not None


def restored(cell: str) -> str:
    """Return the cell that `neutralised` got. A quote of another program, as in `'s-Hertogenbosch`, is not removed."""
    return re.sub(_NEUTRALISED, "", cell) if "'" in cell else cell
