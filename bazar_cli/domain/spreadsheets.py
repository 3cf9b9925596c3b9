"""CSV cells that a spreadsheet would run as a formula: neutralised by exports, restored by imports."""

from __future__ import annotations

import re

# The signs that start a formula in a spreadsheet, also in the forms of Asian scripts.
_SIGN = "=+\\-@＝＋－＠﹦﹢﹣﹫−"
# Characters that some programs skip: invisible ones, and the quote of a CSV field that begins before this cell.
_UNSEEN = r'\s"\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\u3164\ufeff'
_FORMULA = re.compile(rf"\A(?=[\t\r\n])|(?:\A|(?<=[;,\t\r\n]))(?='|[{_UNSEEN}]*[{_SIGN}])")
"""First characters of a formula, and a quote that looks like one of bazar's.

A spreadsheet with another list separator than the comma splits at that one and at every line break, even inside the
quotes of a cell.
"""
_NEUTRALISED = rf"\A'(?=[\t\r\n])|(?:\A|(?<=[;,\t\r\n]))'(?='|[{_UNSEEN}']*[{_SIGN}])"
"""Not compiled here: only imports need it."""


def neutralised(cell: str) -> str:
    """Return a CSV cell that no spreadsheet runs: with a quote before each text that looks like a formula.

    A quote that the cell has in such a place gets another one.
    """
    return _FORMULA.sub("'", cell)


def restored(cell: str) -> str:
    """Return the cell that `neutralised` got. A quote of another program, as in `'s-Hertogenbosch`, is not removed."""
    return re.sub(_NEUTRALISED, "", cell) if "'" in cell else cell
