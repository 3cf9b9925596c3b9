"""The options of `diff` and `apply`: the file of the declared state, and what may be removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from typer import Option

from bazar_cli.domain.declared.changes import Removals
from bazar_cli.domain.declared.shapes import FILE_BYTES
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.texts import Verbatim

if TYPE_CHECKING:
    from bazar_cli.services.apply.declared import Wanted
    from bazar_cli.terminal.run import Run

StateFile: TypeAlias = Annotated[
    Verbatim | None,
    Option("--file", "-f", help="YAML or JSON of organizations, users and plans; - is standard input", metavar="FILE"),
]


@dataclass(frozen=True)
class Removing:
    """What may be removed."""

    prune: Annotated[bool, Option("--prune", help="remove members whom the file does not name")] = False
    max_delete: Annotated[
        str | None,
        Option(
            "--max-delete",
            help="refuse to remove, demote or suspend more than this number or percentage",
            metavar="N|P%",
        ),
    ] = None


def wanted_state(run: Run[Any], file: str | None, removing: Removing) -> Wanted:
    """Read the declared state. Raises: UsageError; as `Run.read_file` and `read_state`."""
    from bazar_cli.services.apply.declared import Wanted
    from bazar_cli.services.apply.state_file import read_state

    removals = Removals(removing.prune, removing.max_delete)
    removals.refuse_unbounded()
    if file is None:
        raise UsageError("usage.missing", "no file was named", hint="name it with -f FILE; - is standard input")
    text, named = run.read_file(file, FILE_BYTES)
    return Wanted(named, read_state(text, named), removals)
