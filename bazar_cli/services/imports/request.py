"""One call of `users import`: its file, its options, and the places to which it reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bazar_cli.domain.imports.imports import FileFormat, ImportUsers, RowResult
from bazar_cli.domain.page import Page
from bazar_cli.domain.progress import Progress

if TYPE_CHECKING:
    from bazar_cli.adapters.import_file import ImportFile
    from bazar_cli.services.gate.gate import Gate


class Results(Protocol):
    """The file of results. Rows are read again with each call of the function that returns them."""

    def check(self, rows: Callable[[], Iterable[Page[RowResult]]] | None) -> None:
        """Refuse a file that cannot be written, or that exists and may not be replaced.

        Parameters: `rows` are those of an open run, whose results an interrupted command may have written.
        """
        ...

    def write(self, rows: Callable[[], Iterable[Page[RowResult]]]) -> None:
        """Write the results of all rows; the file gets its name when it is complete."""
        ...


@dataclass(frozen=True)
class Command:
    """What one call of the command works with."""

    gate: Gate
    file: ImportFile
    format: FileFormat
    request: ImportUsers
    results: Results | None
    progress: Progress
    notice: Callable[[str], None]
