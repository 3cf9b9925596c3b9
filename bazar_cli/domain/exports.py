"""Exports whose rows Postgres writes."""

from __future__ import annotations

from dataclasses import dataclass

from bazar_cli.domain.text_enum import TextEnum


class RowFormat(TextEnum):
    """The formats that Postgres writes."""

    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


@dataclass(frozen=True)
class WantedRows:
    """The format of an export, and the names of its fields in their order."""

    format: RowFormat
    fields: tuple[str, ...]


@dataclass(frozen=True)
class WrittenRows:
    """Complete rows of an export in the wanted format. Each element of a JSON list has a comma before it."""

    text: str
    count: int
