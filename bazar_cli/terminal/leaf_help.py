"""Help of one command, in gh's manner: purpose, examples, usage, what it requires, then the options."""

from __future__ import annotations

from bazar_cli.terminal.command_texts import CommandText, Parameter, command_text
from bazar_cli.terminal.help_text import Block, Lines, Options, Terms, Text, laid_out
from bazar_cli.terminal.width import columns

TYPE_CHECKING = False  # as in `width`
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

_HELP = ("-h, --help", "this text")


def command_help(module: str, path: str, stream: TextIO, environ: Mapping[str, str]) -> str:
    """Return the help of the command that a module holds, as wide as the terminal behind `stream`."""
    return leaf_help(command_text(module), path, columns(stream, environ))


def leaf_help(text: CommandText, path: str, width: int) -> str:
    """Return the whole help text of a command.

    Parameters: `path` is how users call it, `bazar users create`; `width` is that of the terminal, in columns.
    """
    common = Options("COMMON OPTIONS", [*option_rows(text.common), _HELP])
    return laid_out([*command_blocks(text, path), common], width)


def command_blocks(text: CommandText, path: str) -> list[Block]:
    """Return the help of a command without the options that commands share."""
    usage = " ".join([path, *(argument.metavar for argument in text.arguments), "[OPTIONS]"])
    blocks: list[Block] = [
        Text(text.purpose),
        Lines("EXAMPLES", [f"$ {example}" for example in text.examples]),
        Lines("USAGE", [usage]),
        *(Text(paragraph) for paragraph in text.details),
        Text(*text.requires),
    ]
    if text.arguments:
        blocks.append(Terms("ARGUMENTS", [(argument.metavar, argument.help) for argument in text.arguments]))
    if text.options:
        blocks.append(Options("OPTIONS", option_rows(text.options)))
    return blocks


def option_rows(options: list[Parameter]) -> list[tuple[str, str]]:
    """Return the spellings of each option, the short one first, with its value, and its text."""
    return [(f"{', '.join(sorted(o.names, key=len))} {o.metavar}".rstrip(), o.help) for o in options]
