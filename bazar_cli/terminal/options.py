"""The options that every command takes."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from typer import Argument, Option

from bazar_cli.domain.text_enum import TextEnum
from bazar_cli.domain.texts import Verbatim
from bazar_cli.terminal.output import Format


class LogFormat(TextEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


StatementTimeout: TypeAlias = Annotated[
    float | None,
    Option("--statement-timeout", help="seconds a statement may take (default: no limit)", metavar="S"),
]
"""The option of commands that migrate or roll back."""
ExportFile: TypeAlias = Annotated[
    Verbatim | None, Argument(help="new file, readable only by you (default: standard output)")
]
Overwrite: TypeAlias = Annotated[bool, Option("--overwrite", help="replace FILE if it exists")]
"""What every export takes."""


@dataclass(frozen=True)
class Options:
    """The given common options."""

    output: Annotated[
        Format | None, Option("--output", "-o", help="table (default), json, jsonl, csv, yaml or ids", metavar="FORMAT")
    ] = None
    fields: Annotated[str | None, Option("--fields", help="columns or keys, in this order", metavar="A,B")] = None
    quiet: Annotated[bool, Option("--quiet", "-q", help="show no notices")] = False
    yes: Annotated[bool, Option("--yes", "-y", help="answer confirmations with yes")] = False
    no_input: Annotated[bool, Option("--no-input", help="never prompt")] = False
    profile: Annotated[str | None, Option("--profile", help="use the target of this profile", metavar="NAME")] = None
    env_file: Annotated[Path | None, Option("--env-file", help="use the target of this file", metavar="FILE")] = None
    debug: Annotated[bool, Option("--debug", help="show log lines and tracebacks")] = False
    log_format: Annotated[LogFormat | None, Option("--log-format", help="text or json", metavar="FORMAT")] = None
    log_file: Annotated[Path | None, Option("--log-file", help="append log lines to this file", metavar="FILE")] = None
    dry_run: Annotated[bool, Option("--dry-run", "-n", help="check against the real target and write nothing")] = False

    def for_another_command(self) -> tuple[tuple[str, ...], ...]:
        """Return the given options but those of results, each with its value, as words of a command line."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _OF_RESULTS}
        return tuple(
            (f"--{name.replace('_', '-')}", *(() if value is True else (str(value),)))
            for name, value in given.items()
            if value
        )


DRY_RUN = "dry_run"
_OF_RESULTS = frozenset({"output", "fields", DRY_RUN})
NAMES = tuple(f.name for f in fields(Options))


def parameters_of(kind: type[Any]) -> list[inspect.Parameter]:
    """Return the options that a dataclass declares, one for each field, as the parameters of a function."""
    # Not get_type_hints: on Python 3.10 it wraps what has None for default, and Typer finds no Option in it.
    types = inspect.get_annotations(kind, eval_str=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(f.name, keyword, annotation=types[f.name], default=f.default) for f in fields(kind)]
