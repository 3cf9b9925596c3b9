"""Help of the root and of groups, from the registry: imports no Typer and no command."""

from __future__ import annotations

from bazar_cli.registry import TOPICS, Group, Leaf
from bazar_cli.terminal.help_text import Block, Lines, Terms, Text, laid_out
from bazar_cli.terminal.width import columns

TYPE_CHECKING = False  # as in `width`
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO


def listing(group: Group, words: Sequence[str], stream: TextIO, environ: Mapping[str, str]) -> str:
    """Return the help of a group, as wide as the terminal behind `stream`: its purpose and its commands."""
    return laid_out(_blocks(group, words), columns(stream, environ))


def _blocks(group: Group, words: Sequence[str]) -> list[Block]:
    path = " ".join(["bazar", *words])
    groups = [(name, node.help) for name, node in group.commands.items() if isinstance(node, Group)]
    leaves = [(name, node.help) for name, node in group.commands.items() if isinstance(node, Leaf)]
    titled = {"COMMANDS": leaves, "COMMAND GROUPS": groups}
    blocks: list[Block] = [Text(group.help), Lines("USAGE", [f"{path} COMMAND [OPTIONS]"])]
    blocks += [Terms(title, rows) for title, rows in titled.items() if rows]
    if group.default_command:
        blocks.append(Text(f"`{path}` is short for `{path} {group.default_command}`."))
    more = f"`{path} COMMAND --help` explains a command, with examples."
    if words:
        return [*blocks, Text(more)]
    examples = ["$ bazar local start", "$ bazar users create ada@example.com --generate-password"]
    topics = Terms("HELP TOPICS", list(TOPICS.items()))
    return [
        *blocks,
        topics,
        Lines("EXAMPLES", examples),
        Text(more, "`bazar help TOPIC` explains a topic, `bazar help CODE` an error code."),
    ]
