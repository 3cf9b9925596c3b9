"""A stock Typer app with one command that takes the options of `bazar users list`: the floor of its help."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Plan(str, Enum):
    """A plan to filter by."""

    FREE = "free"
    PREMIUM = "premium"


class State(str, Enum):
    """A state to filter by."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


class Sort(str, Enum):
    """An order of the list."""

    CREATED = "created"
    EMAIL = "email"


class Format(str, Enum):
    """A format of the result."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    YAML = "yaml"
    IDS = "ids"


class LogFormat(str, Enum):
    """A format of the log."""

    TEXT = "text"
    JSON = "json"


@app.command()
def users(
    org: Annotated[str | None, typer.Option(help="members of this organization")] = None,
    plan: Annotated[Plan | None, typer.Option(help="users on this plan")] = None,
    state: Annotated[State | None, typer.Option(help="active or suspended")] = None,
    search: Annotated[str | None, typer.Option(help="part of email or name")] = None,
    created_since: Annotated[datetime | None, typer.Option(help="created at or after this date or time")] = None,
    sort: Annotated[Sort, typer.Option(help="the order of the list")] = Sort.CREATED,
    limit: Annotated[int, typer.Option(help="users a page, 1 to 1000")] = 50,
    cursor: Annotated[str | None, typer.Option(help="continue an earlier page")] = None,
    every: Annotated[bool, typer.Option("--all", help="every page")] = False,
    output: Annotated[Format, typer.Option("--output", "-o", help="how to show the result")] = Format.TABLE,
    fields: Annotated[str | None, typer.Option(help="columns or keys, in this order")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no notices")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="answer confirmations with yes")] = False,
    no_input: Annotated[bool, typer.Option("--no-input", help="never prompt")] = False,
    profile: Annotated[str | None, typer.Option(help="use the target of this profile")] = None,
    env_file: Annotated[Path | None, typer.Option(help="use the target of this file")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="show log lines and tracebacks")] = False,
    log_format: Annotated[LogFormat | None, typer.Option(help="how log lines look")] = None,
    log_file: Annotated[Path | None, typer.Option(help="append log lines to this file")] = None,
) -> None:
    """List the users that you can see, oldest first."""
