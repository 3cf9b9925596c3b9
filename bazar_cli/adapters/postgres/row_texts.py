"""Rows that Postgres writes as JSON and CSV, with the text that the views give every value (decision 0028).

A column is SQL for the text of a value, and never NULL. Control characters that JSON allows are not escaped here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from bazar_cli.domain.exports import RowFormat, WantedRows, WrittenRows
from bazar_cli.domain.spreadsheets import FORMULA

if TYPE_CHECKING:
    from typing_extensions import LiteralString

    from bazar_cli.adapters.postgres.connections import Connection
    from bazar_cli.adapters.postgres.rows import Values

_BATCH = 500
"""Rows that are joined to one text."""
_LINE = "\n    "
"""How each element of the list of a JSON document begins."""
_TO_BE_QUOTED = '[",\r\n]'
_TO_BE_CHANGED: LiteralString = f"{_TO_BE_QUOTED}|{FORMULA}".replace("'", "''")
_FORMULA: LiteralString = FORMULA.replace("'", "''")


@dataclass(frozen=True)
class Column:
    """How SQL writes a field.

    Parameters: `cell` is for CSV; `json` takes the line break and indentation of the object that the field is in, or
    "" for JSON without spaces.
    """

    json: Callable[[LiteralString], LiteralString]
    cell: LiteralString


Columns: TypeAlias = "Mapping[LiteralString, Column]"


def text(value: LiteralString) -> Column:
    """Return the column of a text, which may be NULL."""
    quote: LiteralString = f"CASE WHEN {value} ~ '{_TO_BE_QUOTED}' THEN '\"' ELSE '' END"
    changed: LiteralString = f"replace(regexp_replace({value}, '{_FORMULA}', '''', 'g'), '\"', '\"\"')"
    return Column(
        json=lambda _: f"coalesce(to_json({value})::text, 'null')",
        cell=f"CASE WHEN {value} ~ '{_TO_BE_CHANGED}' THEN {quote} || {changed} || {quote}"
        f" ELSE coalesce({value}, '') END",
    )


def number(value: LiteralString) -> Column:
    """Return the column of a number or truth value."""
    return Column(json=lambda _: f"({value})::text", cell=f"({value})::text")


def identifier(value: LiteralString) -> Column:
    """Return the column of a UUID."""
    return Column(json=lambda _: f"'\"' || {value} || '\"'", cell=f"{value}::text")


def moment(value: LiteralString) -> Column:
    """Return the column of a time: RFC 3339, in a transaction whose time zone is UTC; else as Postgres writes it."""
    # Of these years Python has a time, and RFC 3339 a text.
    usual: LiteralString = f"{value} >= '0001-01-01Z' AND {value} < '10000-01-01Z'"
    whole: LiteralString = f"to_char({value}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"
    shown: LiteralString = f"CASE WHEN {usual} THEN replace({whole}, '.000000', '') || 'Z' ELSE {value}::text END"
    return Column(json=lambda _: f"'\"' || {shown} || '\"'", cell=shown)


def objects(members: Columns, cell: LiteralString, rows: LiteralString, *, order: LiteralString) -> Column:
    """Return the column of a list of objects, of the rows that follow FROM.

    Parameters: `cell` is the text of one of them, which needs no quotes.
    """

    def json(line: LiteralString) -> LiteralString:
        inner = _deeper(line)
        element = _object(members, inner)
        joined: LiteralString = f"string_agg({element}, ',{inner}' ORDER BY {order})"
        return f"coalesce((SELECT '[{inner}' || {joined} || '{line}]' FROM {rows}), '[]')"  # noqa: S608 - constants

    return Column(json, f"coalesce((SELECT string_agg({cell}, ';' ORDER BY {order}) FROM {rows}), '')")  # noqa: S608 - constants


def are_exact(connection: Connection) -> bool:
    """Say whether the server compares characters as Python does: if it stores them in UTF-8."""
    return connection.info.parameter_status("server_encoding") == "UTF8"


def fetch_texts(
    connection: Connection, wanted: WantedRows, columns: Columns, rows: LiteralString, values: Values | None = None
) -> Iterator[WrittenRows]:
    """Yield rows as text, some hundred at a time, by COPY.

    Parameters: `rows` is the query without SELECT and its columns; COPY takes no parameters, so the driver puts
    `values` into the text.
    Raises: psycopg.Error.
    """
    query: LiteralString = f"COPY (SELECT {_row(wanted, columns)} {rows}) TO STDOUT (FORMAT binary)"
    with connection.cursor() as cursor, cursor.copy(query, values) as copy:
        # In the binary format a text is its characters; in the others it has escapes.
        copy.set_types(["text"])
        coming = copy.rows()
        while batch := [row for (row,) in islice(coming, _BATCH)]:
            yield WrittenRows("".join(batch), len(batch))


def _row(wanted: WantedRows, columns: Columns) -> LiteralString:
    known: dict[str, tuple[LiteralString, Column]] = {str(name): (name, column) for name, column in columns.items()}
    chosen = [known[name] for name in wanted.fields]
    if wanted.format is RowFormat.CSV:
        cells: list[LiteralString] = [column.cell for _, column in chosen]
        if len(cells) == 1:  # An empty line would be no row.
            cells = [f"coalesce(nullif({cells[0]}, ''), '\"\"')"]
        return " || ',' || ".join(cells) + " || '\r\n'"
    members: dict[LiteralString, Column] = dict(chosen)
    if wanted.format is RowFormat.JSON:
        return f"',{_LINE}' || {_object(members, _LINE)}"
    return f"{_object(members, '')} || '\n'"


def _object(members: Columns, line: LiteralString) -> LiteralString:
    """Return SQL for a JSON object. Parameters: `line` is the line break and indentation around it, or ""."""
    inner, colon = _deeper(line), ": " if line else ":"
    named: list[LiteralString] = [
        f'{inner}"{name}"{colon}\' || {column.json(inner)}' for name, column in members.items()
    ]
    return "'{" + " || ',".join(named) + f" || '{line}}}'"


def _deeper(line: LiteralString) -> LiteralString:
    return f"{line}  " if line else ""
