"""The one renderer: table, JSON, JSON Lines, CSV, YAML and ids, for single results and for lists."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.page import Page
from bazar_cli.domain.text_enum import TextEnum
from bazar_cli.terminal import tables
from bazar_cli.terminal.escape import escaped, escaped_json
from bazar_cli.terminal.streams import draws, is_terminal, lost, results
from bazar_cli.terminal.views.base import Value, View

if TYPE_CHECKING:
    from bazar_cli.domain.exports import WrittenRows

T = TypeVar("T")


class Format(TextEnum):
    """The formats of `-o`."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    YAML = "yaml"
    IDS = "ids"


class Renderer:
    """Writes results of one command to standard output."""

    def __init__(
        self, chosen: Format, fields: tuple[str, ...] | None, environ: Mapping[str, str], stream: TextIO | None = None
    ) -> None:
        self.format = chosen
        self.fields = fields
        self._environ = environ
        self._stream = stream or results()

    def check(self, view: View[Any]) -> None:
        """Refuse what cannot be shown, before the command does anything.

        Raises: UsageError `output.unknown_field`, `output.no_ids`.
        """
        view.chosen(self.fields)
        if self.format is Format.IDS:
            if view.identifier is None:
                raise UsageError(
                    "output.no_ids", "this result has no ids", hint="choose another format with -o: json, csv or table"
                )
            if self.fields is not None:
                raise UsageError("output.ids_fields", "-o ids prints ids and takes no --fields", hint="leave one out")

    def one(self, view: View[T], item: T) -> None:
        """Write a single result: the bare object, its id, or a table of names and values."""
        names = view.chosen_of(item, self.fields)
        encode = view.record.encoder(names)
        if self.format is Format.JSON:
            self._line(_pretty(encode(item)))
        elif self.format is Format.JSONL:
            self._line(_compact(encode(item)))
        elif self.format is Format.YAML:
            self._write(self._yaml(encode(item)))
        elif self.format is Format.CSV:
            self._csv_rows([names, [view.cell(n)(item) for n in names]], raw_first=True)
        elif self.format is Format.IDS:
            self._identify(view, item)
        elif (raw := self._raw(view, item)) is not None:
            text = raw.rstrip("\n")
            self._line(tables.diff(text.split("\n"), self._stream, self._environ) if view.is_diff else text)
        else:
            rows = [(name, escaped(text)) for name in names for text in view.table_lines(item, name)]
            self._write(tables.key_values(rows, self._stream, self._environ))
        self._stream.flush()

    @property
    def lost(self) -> OSError | None:
        """The error that stopped the output, if any."""
        return lost(self._stream)

    def pages(self, view: View[T], given: Iterable[Page[T]]) -> int:
        """Write a list page by page, as pages arrive; return the number of items.

        Memory holds one page. It stops if the reader of standard output is gone.
        """
        names = view.chosen(self.fields)
        count = 0

        def counted() -> Iterator[Page[T]]:
            nonlocal count
            for page in given:
                count += len(page.items)
                yield page
                self._stream.flush()
                if self.lost:
                    return

        pages = counted()
        if self.format is Format.JSON:
            self._json_pages(view, pages, names)
        elif self.format is Format.YAML:
            self._yaml_pages(view, pages, names)
        elif self.format is Format.CSV:
            self._csv_rows([names], raw_first=True)
            cells = [view.cell(name) for name in names]
            for page in pages:
                self._csv_rows([[cell(item) for cell in cells] for item in page.items])
        elif self.format is Format.JSONL:
            encode = view.record.encoder(names)
            for page in pages:
                for item in page.items:
                    self._line(_compact(encode(item)))
        elif self.format is Format.IDS:
            for page in pages:
                for item in page.items:
                    self._identify(view, item)
        else:
            self._table_pages(view, pages)
        return count

    def written(self, view: View[T], given: Iterable[WrittenRows]) -> int:
        """Write rows that have this format and these fields, as they arrive; return their number.

        It stops if the reader of standard output is gone.
        """
        count = 0
        if self.format is Format.CSV:
            self._csv_rows([view.chosen(self.fields)], raw_first=True)
        elif self.format is Format.JSON:
            self._write(_LIST)
        for rows in given:
            if self.format is Format.CSV:
                self._csv_text(rows.text)
            else:
                text = escaped_json(rows.text)
                self._write(text[1:] if self.format is Format.JSON and not count else text)
            count += rows.count
            self._stream.flush()
            if self.lost:
                break
        if self.format is Format.JSON:
            self._write(_end_of_list(empty=not count, cursor=None))
        return count

    # -- formats ------------------------------------------------------------------------------------------

    def _json_pages(self, view: View[T], pages: Iterable[Page[T]], names: tuple[str, ...]) -> None:
        self._write(_LIST)
        encode = view.record.encoder(names)
        first, cursor = True, None
        for page in pages:
            for item in page.items:
                text = _pretty(encode(item)).replace("\n", "\n    ")
                self._write(f"{'' if first else ','}\n    {text}")
                first = False
            cursor = page.next_cursor
        self._write(_end_of_list(empty=first, cursor=cursor))

    def _yaml_pages(self, view: View[T], pages: Iterable[Page[T]], names: tuple[str, ...]) -> None:
        encode = view.record.encoder(names)
        started, cursor = False, None
        for page in pages:
            if page.items:
                text = self._yaml([encode(item) for item in page.items])
                self._write(text if started else f"items:\n{text}")
                started = True
            cursor = page.next_cursor
        self._write(("" if started else "items: []\n") + self._yaml({"next_cursor": cursor}))

    def _table_pages(self, view: View[T], pages: Iterable[Page[T]]) -> None:
        names = view.chosen(self.fields) if self.fields is not None else (view.table or view.fields)
        header = True
        cell_of = view.drawn_cell if draws(self._stream, self._environ) else view.table_cell
        cells = [cell_of(name) for name in names]
        for page in pages:
            if view.raw is not None and self.fields is None:
                for item in page.items:
                    self._line(escaped(view.raw(item) or ""))
                self._stream.flush()
                continue
            rows = [[escaped(cell(item)) for cell in cells] for item in page.items]
            bars = [view.bars(item) for item in page.items] if view.bars and self.fields is None else None
            if rows:
                self._write(tables.table(names if header else None, rows, self._stream, self._environ, bars))
                header = False

    def _csv_rows(self, rows: Iterable[Iterable[str]], *, raw_first: bool = False) -> None:
        import csv

        from bazar_cli.domain.spreadsheets import neutralised

        text = io.StringIO()
        writer = csv.writer(text)
        for number, row in enumerate(rows):
            writer.writerow(list(row) if raw_first and number == 0 else [neutralised(cell) for cell in row])
        self._csv_text(text.getvalue())

    def _csv_text(self, text: str) -> None:
        if is_terminal(self._stream):
            text = "\n".join(escaped(line) for line in text.replace("\r\n", "\n").split("\n"))
        self._write(text)

    def _yaml(self, value: Value) -> str:
        from bazar_cli.terminal.yaml_text import yaml_text

        # On a terminal YAML escapes every character beyond ASCII.
        return yaml_text(value, unicode=not is_terminal(self._stream))

    def _identify(self, view: View[T], item: T) -> None:
        found = view.id_of(item)
        if found is not None:
            self._line(found)

    def _raw(self, view: View[T], item: T) -> str | None:
        return view.raw(item) if view.raw is not None and self.fields is None else None

    def _line(self, text: str) -> None:
        self._write(text + "\n")

    def _write(self, text: str) -> None:
        self._stream.write(text)


_LIST = '{\n  "items": ['


def _end_of_list(*, empty: bool, cursor: str | None) -> str:
    return f'{"" if empty else chr(10) + "  "}],\n  "next_cursor": {json.dumps(cursor)}\n}}\n'


_indented = json.JSONEncoder(ensure_ascii=False, indent=2).encode
_dense = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _pretty(record: Value) -> str:
    return escaped_json(_indented(record))


def _compact(record: Value) -> str:
    return escaped_json(_dense(record))
