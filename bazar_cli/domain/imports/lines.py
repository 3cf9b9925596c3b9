"""The lines of a file: bounded, UTF-8, without NUL characters, with any line ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bazar_cli.domain.imports.findings import Finding, Unreadable
from bazar_cli.domain.texts import BYTE_ORDER_MARK

MAX_LINE_BYTES = 1 << 20
_WITH_END = MAX_LINE_BYTES + len(b"\r\n")
_TOO_LONG = "the line is longer than 1 MiB"
_BEGINNINGS = {
    b"\xff\xfe": "the file is UTF-16 text: save it as UTF-8",
    b"\xfe\xff": "the file is UTF-16 text: save it as UTF-8",
    b"\x00\x00\xfe\xff": "the file is UTF-32 text: save it as UTF-8",
    b"PK\x03\x04": "the file is a workbook or a ZIP archive: save the sheet as CSV in UTF-8",
    b"\xd0\xcf\x11\xe0": "the file is an Excel workbook: save the sheet as CSV in UTF-8",
    b"\x1f\x8b": "the file is compressed: `gunzip -c FILE | bazar users import -` imports it",
    b"%PDF": "the file is a PDF: save the table as CSV in UTF-8",
}


def unreadable(line: int, message: str, column: str = "") -> Unreadable:
    """Return the error for a line after which the rest of the file cannot be read."""
    return Unreadable(Finding(line, column, "imports.unreadable", message))


def lines_of(chunks: Iterable[bytes]) -> Iterator[str]:
    r"""Yield the lines of a file, each with its end. A line ends with \n, \r\n or \r, also in one file.

    Raises: Unreadable for a line of more than 1 MiB, text that is not UTF-8, a NUL character.
    """
    number, rest = 0, b""
    for chunk in chunks:
        if number == 0 and not rest:
            _refuse_other_formats(chunk)
            chunk = chunk.removeprefix(BYTE_ORDER_MARK.encode())
        parts = (rest + chunk).splitlines(keepends=True)
        # The last part may go on in the next chunk, also where it ends with \r: a \n may follow.
        rest = parts.pop() if parts and not parts[-1].endswith(b"\n") else b""
        for part in parts:
            number += 1
            yield _decoded(number, part)
        if len(rest) > _WITH_END:
            raise unreadable(number + 1, _TOO_LONG)
    if rest:
        yield _decoded(number + 1, rest)


def _decoded(number: int, part: bytes) -> str:
    if len(part) > _WITH_END:
        raise unreadable(number, _TOO_LONG)
    try:
        text = part.decode()
    except UnicodeDecodeError as error:
        byte = part[error.start]
        place = len(part[: error.start].decode(errors="replace")) + 1
        raise unreadable(
            number, f"byte 0x{byte:02x} is not UTF-8 text: save the file as UTF-8", f"character {place}"
        ) from None
    if "\0" in text:
        place = f"character {text.index(chr(0)) + 1}"
        raise unreadable(number, "a NUL character; text in UTF-16 is full of them: save the file as UTF-8", place)
    return text


def _refuse_other_formats(beginning: bytes) -> None:
    for start, message in _BEGINNINGS.items():
        if beginning.startswith(start):
            raise unreadable(1, message)
