"""The option that limits how long one statement of a migration may take: the same both ways."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from typer import Option

StatementTimeout: TypeAlias = Annotated[
    "float | None",
    Option("--statement-timeout", help="seconds a statement may take (default: no limit)", metavar="S"),
]
