"""The width of the terminal, in a module without slow imports, for help."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # as in `typing`, whose import costs a fifth of a start
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

_COLUMNS = 80
_MOST_DIGITS = 4
"""The largest number of digits of a width; no screen has 10,000 columns."""


def columns(stream: TextIO, environ: Mapping[str, str]) -> int:
    """Return the width to draw in: COLUMNS, else the terminal's, else 80."""
    given = environ.get("COLUMNS", "")
    if given:
        from bazar_cli.domain.texts import whole_number

        if number := whole_number(given, _MOST_DIGITS):
            return number
    try:
        return os.get_terminal_size(stream.fileno()).columns or _COLUMNS
    except (OSError, ValueError):
        return _COLUMNS
