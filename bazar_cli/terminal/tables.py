"""Tables: drawn by Rich on a terminal, tab-separated elsewhere: no box, no colour, nothing cut off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TextIO

from bazar_cli.terminal.escape import escaped
from bazar_cli.terminal.streams import colours, draws
from bazar_cli.terminal.width import columns

_SIGNS = {"+": "32", "-": "31", "~": "33", "?": "36"}
"""The colours of lines of a diff by their first character: green, red, yellow, cyan."""
_SHORTEST_BAR, _LONGEST_BAR = 5, 40
_LINES = 25
"""The height that Rich is given, so that it does not read LINES; no table depends on it."""


def table(
    names: Sequence[str] | None,
    rows: Sequence[Sequence[str]],
    stream: TextIO,
    environ: Mapping[str, str],
    bars: Sequence[float] | None = None,
) -> str:
    """Return rows under a header; None for the header continues the table of an earlier page.

    Parameters: `bars` are parts of 1, one per row, drawn on a terminal. A narrow terminal gets shorter bars, or
    none if the texts need the room.
    """
    if not draws(stream, environ):
        lines = [*([[name.upper() for name in names]] if names else []), *rows]
        return "".join("\t".join(line) + "\n" for line in lines)
    from rich import box
    from rich.bar import Bar
    from rich.table import Table
    from rich.text import Text

    drawn = Table(
        box=box.SIMPLE_HEAD if names else None, show_header=names is not None, header_style="bold", pad_edge=False
    )
    for name in names or [""] * len(rows[0]):
        drawn.add_column(name.upper(), overflow="fold")
    if bars is not None and not _has_room(names, rows, columns(stream, environ)):
        bars = None
    if bars is not None:
        drawn.add_column("", min_width=_SHORTEST_BAR, max_width=_LONGEST_BAR, ratio=1)
    for number, row in enumerate(rows):
        bar = [Bar(1, 0, bars[number])] if bars is not None else []
        drawn.add_row(*(Text(cell) for cell in row), *bar)
    return _drawn(drawn, stream, environ)


def _has_room(names: Sequence[str] | None, rows: Sequence[Sequence[str]], width: int) -> bool:
    cells = zip(*([names] if names else []), *rows, strict=True)
    texts = sum(max(map(len, column)) + 2 for column in cells)
    return texts + _SHORTEST_BAR <= width


def key_values(rows: Sequence[tuple[str, str]], stream: TextIO, environ: Mapping[str, str]) -> str:
    """Return names and values, one pair per line; aligned on a terminal, tab-separated elsewhere."""
    if not draws(stream, environ):
        return "".join(f"{name}\t{value}\n" for name, value in rows)
    from rich.table import Table
    from rich.text import Text

    drawn = Table.grid(padding=(0, 2))
    drawn.add_column(style="bold")
    drawn.add_column(overflow="fold")
    for name, value in rows:
        drawn.add_row(name, Text(value))
    return _drawn(drawn, stream, environ)


def diff(lines: Sequence[str], stream: TextIO, environ: Mapping[str, str]) -> str:
    """Return lines whose first character is the sign of a change, with a colour for each sign on a terminal."""
    shown = [escaped(line) for line in lines]
    if colours(stream, environ):
        shown = [f"\x1b[{_SIGNS[line[0]]}m{line}\x1b[0m" if line[:1] in _SIGNS else line for line in shown]
    return "\n".join(shown)


def _drawn(what: object, stream: TextIO, environ: Mapping[str, str]) -> str:
    from rich.console import Console

    colour = colours(stream, environ)
    console = Console(
        file=stream,
        force_terminal=True,
        no_color=not colour,
        color_system="standard" if colour else None,
        width=columns(stream, environ),
        height=_LINES,
    )
    with console.capture() as captured:
        console.print(what)
    # Rich writes bold without colour, too.
    return captured.get() if colour else _plain(captured.get())


def _plain(text: str) -> str:
    import re

    return re.sub(r"\x1b\[[0-9;]*m", "", text)
