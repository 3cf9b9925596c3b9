"""The rows of a file to import: CSV or JSON Lines, read as a stream, each value checked."""

from __future__ import annotations

import csv
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.imports.findings import Finding, Findings, Unreadable
from bazar_cli.domain.imports.imports import FileFormat
from bazar_cli.domain.imports.lines import MAX_LINE_BYTES, lines_of, unreadable
from bazar_cli.domain.imports.values import IGNORED, PARSERS, READ
from bazar_cli.domain.spreadsheets import begins_a_formula, restored
from bazar_cli.domain.texts import BYTE_ORDER_MARK, counted, from_json, json_kind, unique_keys

_KNOWN = frozenset((*READ, *IGNORED))
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_CSV_FAULTS = {
    "unexpected end of data": "the quote of a cell is not closed before the end of the file",
    "field larger than field limit": "a cell is longer than 128 KiB, perhaps because its quote is not closed",
}
_SUSPENDED = "suspended"
_FORMULAS_SHOWN = 5
_NEUTRALISED = frozenset({"email", "name", "organizations"})
"""Texts of an export, which may begin as a formula does."""

Record = Mapping[str, object]
"""The values of one row by column: texts, or of JSON Lines any values."""


def format_of(named: str, beginning: bytes) -> FileFormat:
    """Return the format of a file by its name, else by its first bytes."""
    ending = named.lower().rpartition(".")[2]
    if ending in {"csv", "jsonl", "ndjson", "json"}:
        return FileFormat.CSV if ending == "csv" else FileFormat.JSONL
    text = beginning.removeprefix(BYTE_ORDER_MARK.encode()).lstrip()
    return FileFormat.JSONL if text.startswith((b"{", b"[")) else FileFormat.CSV


class Row(NamedTuple):
    """A checked row, as it goes into a table of Postgres."""

    line: int
    email: str
    id: str | None
    name: str | None
    """None where the column is not given, empty for no name."""
    plan: str | None
    organizations: str | None
    """`slug:role;slug:role`."""
    user_metadata: str | None
    app_metadata: str | None
    password_hash: str | None
    awaits_hash: bool
    """The row has a plain password, which never gets into Postgres."""
    suspended: bool


class RowFile:
    """The rows of one file. Parameters: `chunks` are its bytes, in pieces of any size."""

    def __init__(self, chunks: Iterable[bytes], file_format: FileFormat) -> None:
        self._chunks = chunks
        self._format = file_format
        self.columns: dict[str, None] = {}
        """The columns of the file, complete after the last row."""
        self.formulas = 0
        """How many cells with a text begin as a formula does, without the quote of an export."""
        self.first_formulas: list[int] = []
        """The lines of the first ones."""

    @property
    def read(self) -> tuple[str, ...]:
        """The columns that are read."""
        return tuple(name for name in READ if name in self.columns)

    @property
    def ignored(self) -> tuple[str, ...]:
        """The columns that are not read."""
        return tuple(name for name in self.columns if name in IGNORED)

    def rows(self, findings: Findings) -> Iterator[Row]:
        """Yield the rows without a fault. All faults get into `findings`; after some the rest cannot be read."""
        for line, record in self._records(findings):
            row = _row(line, record, findings)
            if row is not None:
                yield row

    def passwords(self) -> Iterator[tuple[int, str]]:
        """Yield line and password of each row that has one. The file was checked by `rows`."""
        for line, record in self._records(Findings()):
            password = record.get("password")
            if password:
                yield line, str(password)

    def _records(self, findings: Findings) -> Generator[tuple[int, Record]]:
        lines = lines_of(self._chunks)
        try:
            yield from (
                self._of_csv(lines, findings) if self._format is FileFormat.CSV else self._of_json(lines, findings)
            )
        except Unreadable as error:
            findings.add(error.finding)

    # -- CSV ----------------------------------------------------------------------------------------------

    def _of_csv(self, lines: Iterator[str], findings: Findings) -> Generator[tuple[int, Record]]:
        records = _csv_records(lines)
        line, header = next(records, (1, list[str]()))
        names = [name.strip().lower() for name in header]
        if not self._is_header(line, header, names, findings):
            return
        self.columns = dict.fromkeys(names)
        neutralised = [place for place, name in enumerate(names) if name in _NEUTRALISED]
        for line, cells in records:
            if len(cells) == len(names):
                for place in neutralised:
                    self._note_formula(line, cells[place])
                    cells[place] = restored(cells[place])
                yield line, dict(zip(names, cells, strict=True))
            else:
                message = f"it has {counted(len(cells), 'cell')}, and the header has {len(names)}"
                findings.add(Finding(line, "", "imports.row_invalid", message))

    def _note_formula(self, line: int, cell: str) -> None:
        if begins_a_formula(cell):
            self.formulas += 1
            if len(self.first_formulas) < _FORMULAS_SHOWN:
                self.first_formulas.append(line)

    def _is_header(self, line: int, header: Sequence[str], names: Sequence[str], findings: Findings) -> bool:
        before = findings.count
        if not header:
            findings.add(
                Finding(1, "", "imports.row_invalid", "the file is empty; it needs a header with the column email")
            )
            return False
        separator = next((s for s in _SEPARATORS if len(header) == 1 and s in header[0]), None)
        if separator is not None:
            message = f"the cells are separated by {_SEPARATORS[separator]}: save the file with commas"
            findings.add(Finding(line, "", "imports.row_invalid", message))
            return False
        for place, name in enumerate(names):
            if name not in _KNOWN:
                # Not named: without a header, the first row has values, perhaps a password.
                findings.add(_unknown(line, f"column {place + 1}", "its name is not known"))
            elif name in names[:place]:
                findings.add(Finding(line, name, "imports.column_doubled", "the header has this column twice"))
        if "email" not in names:
            findings.add(Finding(line, "", "imports.column_missing", "the header has no column email"))
        return findings.count == before

    # -- JSON Lines ---------------------------------------------------------------------------------------

    def _of_json(self, lines: Iterator[str], findings: Findings) -> Generator[tuple[int, Record]]:
        for number, text in enumerate(lines, start=1):
            text = text.rstrip()
            if not text:
                continue
            if number == 1 and text in {"{", "["}:
                raise unreadable(1, "the file is one JSON document: save it as JSON Lines, one object on each line")
            try:
                value: object = from_json(text, object_pairs_hook=unique_keys)
            except ValueError as error:
                place = str(error).removeprefix("line 1 column ")
                is_place = place.isdecimal()
                message = "it is not valid JSON" if is_place else f"it is not valid JSON: {error}"
                column = f"character {place}" if is_place else ""
                findings.add(Finding(number, column, "imports.row_invalid", message))
                continue
            if not isinstance(value, dict):
                findings.add(Finding(number, "", "imports.row_invalid", f"an object is needed, not {json_kind(value)}"))
                continue
            record = cast("dict[str, object]", value)
            if not record.keys() <= self.columns.keys():
                unknown = [name for name in record if name not in _KNOWN]
                for name in unknown:
                    findings.add(_unknown(number, name[:40], "this column is not known"))
                if unknown:
                    continue
                self.columns |= dict.fromkeys(record)
            yield number, record


def _csv_records(lines: Iterator[str]) -> Generator[tuple[int, list[str]]]:
    """Yield the first line and the cells of each row; rows without any text are left out."""
    size = 0

    def fed() -> Iterator[str]:
        nonlocal size
        for line in lines:
            size += len(line)
            if size > 2 * MAX_LINE_BYTES:
                raise unreadable(start, "the row is longer than 2 MiB, perhaps because a quote is not closed")
            yield line

    reader = csv.reader(fed(), strict=True)
    while True:
        start = reader.line_num + 1
        size = 0
        try:
            cells = next(reader, None)
        except csv.Error as error:
            found = next((text for fault, text in _CSV_FAULTS.items() if str(error).startswith(fault)), None)
            raise unreadable(start, found or f"it is not valid CSV: {error}") from None
        if cells is None:
            return
        if any(cells):
            yield start, cells


def _unknown(line: int, column: str, what: str) -> Finding:
    known = ", ".join((*READ, *IGNORED))
    return Finding(line, column, "imports.column_unknown", f"{what}; known: {known}")


def _row(line: int, record: Record, findings: Findings) -> Row | None:
    """Return the checked row, or None after its faults were added to the findings."""
    before = findings.count
    values: dict[str, str | None] = {}
    for name, parse in PARSERS.items():
        if name in record or name == "email":
            try:
                values[name] = parse(record.get(name))
            except UsageError as error:
                findings.add(Finding(line, name, error.code, error.message))
    get = values.get
    if get("password") and get("password_hash"):
        findings.add(
            Finding(line, "password_hash", "imports.value_invalid", "the row has a password too; give one of the two")
        )
    email = get("email")
    if findings.count > before or email is None:
        return None
    return Row(
        line,
        email,
        get("id"),
        get("name"),
        get("plan"),
        get("organizations"),
        get("user_metadata"),
        get("app_metadata"),
        get("password_hash"),
        awaits_hash=bool(get("password")),
        suspended=get("state") == _SUSPENDED,
    )
