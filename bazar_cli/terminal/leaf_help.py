"""Help of one command, in gh's manner: purpose, examples, usage, what it requires, then the options."""

from __future__ import annotations

import textwrap

from bazar_cli.terminal.command_texts import CommandText, Parameter, command_text
from bazar_cli.terminal.width import columns

TYPE_CHECKING = False  # as in `width`
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

_MAX_WIDTH = 100
_INDENT = 2
_HELP = ("-h, --help", "this text")


def command_help(module: str, path: str, stream: TextIO, environ: Mapping[str, str]) -> str:
    """Return the help of the command that a module holds, as wide as the terminal behind `stream`."""
    return leaf_help(command_text(module), path, columns(stream, environ))


def leaf_help(text: CommandText, path: str, width: int) -> str:
    """Return the whole help text of a command.

    Parameters: `path` is how users call it, `bazar users create`; `width` is that of the terminal, in columns.
    """
    width = min(_MAX_WIDTH, width)
    usage = " ".join([path, *(argument.metavar for argument in text.arguments), "[OPTIONS]"])
    parts = [
        text.purpose,
        _section("EXAMPLES", [f"$ {example}" for example in text.examples]),
        _section("USAGE", [usage]),
        *(textwrap.fill(paragraph, width) for paragraph in text.details),
        "\n".join(text.requires),
        _definitions("ARGUMENTS", [(argument.metavar, argument.help) for argument in text.arguments], width),
        _definitions("OPTIONS", [(_shown(option), option.help) for option in text.options], width),
        _definitions("COMMON OPTIONS", [*((_shown(option), option.help) for option in text.common), _HELP], width),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _shown(option: Parameter) -> str:
    """The spellings of an option, the short one first, in a column of its own, and its value."""
    names = sorted(option.names, key=len)
    shown = ", ".join(names) if not names[0].startswith("--") else f"    {names[0]}"
    return f"{shown} {option.metavar}".rstrip()


def _section(title: str, lines: list[str]) -> str:
    return "\n".join([title, *(" " * _INDENT + line for line in lines)])


def _definitions(title: str, rows: list[tuple[str, str]], width: int) -> str:
    if not rows:
        return ""
    column = max(len(name) for name, _ in rows) + 2 + _INDENT
    lines: list[str] = []
    for name, text in rows:
        wrapped = textwrap.wrap(text, max(20, width - column)) or [""]
        lines.append(f"{' ' * _INDENT}{name}".ljust(column) + wrapped[0])
        lines += [" " * column + more for more in wrapped[1:]]
    return "\n".join([title, *(line.rstrip() for line in lines)])
