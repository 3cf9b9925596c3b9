"""Blocks of help, and their layout in a terminal.

Help of commands and groups, topics and error codes are lists of blocks. The reference and the man pages are made from
the same blocks. This module imports nothing, because a start for help costs little more than one of bare Python.
"""

_MAX_WIDTH = 100
_INDENT = "  "
_GAP = 2
_LEAST_ROOM = 24
"""Columns for the texts beside their terms; with fewer, each text stands below its term."""


class Text:
    """A paragraph. Several lines are several sentences; each begins a line."""

    __slots__ = ("lines",)

    def __init__(self, *lines: str) -> None:
        self.lines = lines


class Lines:
    """Lines below a title that are never wrapped, because people copy them."""

    __slots__ = ("lines", "title")

    def __init__(self, title: str, lines: "list[str]") -> None:
        self.title = title
        self.lines = lines


class Terms:
    """Terms below a title, each with its text."""

    __slots__ = ("rows", "title")

    def __init__(self, title: str, rows: "list[tuple[str, str]]") -> None:
        self.title = title
        self.rows = rows


class Options(Terms):
    """Options: the long spellings are aligned, with or without a short one."""

    __slots__ = ()


Block = Text | Lines | Terms


def laid_out(blocks: "list[Block]", width: int) -> str:
    """Return the text of blocks, with a blank line between two.

    Parameters: `width` is that of the terminal, in columns.
    """
    width = min(_MAX_WIDTH, width)
    return "\n\n".join("\n".join(_lines(block, width)) for block in blocks) + "\n"


def _lines(block: "Block", width: int) -> "list[str]":
    if isinstance(block, Lines):
        return [block.title, *(_INDENT + line for line in block.lines)]
    if isinstance(block, Terms):
        return [block.title, *_terms(block, width)]
    if len(block.lines) == 1:
        return _wrapped(block.lines[0], width, "")
    return [line for text in block.lines for line in _hanging(text, width)]


def _terms(block: "Terms", width: int) -> "list[str]":
    rows = [(_INDENT + _aligned(term, block), text) for term, text in block.rows]
    column = max(len(term) for term, _ in rows) + _GAP
    lines: list[str] = []
    if width - column < _LEAST_ROOM:
        for term, text in block.rows:
            lines += [_INDENT + term, *_wrapped(text, width, _INDENT * 3)]
        return lines
    for term, text in rows:
        first, *more = _wrapped(text, width, " " * column)
        lines += [term + first[len(term) :], *more]
    return lines


def _aligned(term: str, block: "Terms") -> str:
    return f"    {term}" if isinstance(block, Options) and term.startswith("--") else term


def _hanging(text: str, width: int) -> "list[str]":
    first, *more = _wrapped(text, width, "")
    return [first, *_wrapped(" ".join(more), width, _INDENT)] if more else [first]


def _wrapped(text: str, width: int, indent: str) -> "list[str]":
    """The lines of a text. A word is never split, nor is a command in backquotes."""
    parts = text.split("`")
    joined = "`".join(part.replace(" ", "\0") if quoted % 2 else part for quoted, part in enumerate(parts))
    lines: list[str] = []
    for word in joined.split():
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(indent + word)
    return [line.replace("\0", " ") for line in lines]
