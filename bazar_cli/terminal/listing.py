"""Help of the root and of groups, from the registry: imports no Typer and no command."""

from __future__ import annotations

from bazar_cli.registry import Group, Leaf

_FOOTER = """
EXIT CODES, ENVIRONMENT, OUTPUT
  bazar help exit-codes
  bazar help environment
  bazar help output
"""


def listing(group: Group, words: list[str]) -> str:
    """Return the help of a group: its purpose and its commands."""
    path = " ".join(["bazar", *words])
    width = max(len(name) for name in group.commands) + 2
    groups = [f"  {name:<{width}}{node.help}" for name, node in group.commands.items() if isinstance(node, Group)]
    leaves = [f"  {name:<{width}}{node.help}" for name, node in group.commands.items() if isinstance(node, Leaf)]
    lines = [group.help, "", "USAGE", f"  {path} COMMAND [OPTIONS]"]
    for title, entries in (("COMMANDS", leaves), ("COMMAND GROUPS", groups)):
        if entries:
            lines += ["", title, *entries]
    if group.default_command:
        lines += ["", f"`{path}` is short for `{path} {group.default_command}`."]
    if not words:
        lines += ["", "EXAMPLES", "  $ bazar local start", "  $ bazar users create ada@example.com --generate-password"]
    lines += ["", f"`{path} COMMAND --help` explains a command, with examples."]
    return "\n".join(lines) + "\n" + ("" if words else _FOOTER)
