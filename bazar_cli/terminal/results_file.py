"""The file of results of a bulk command: complete under its name, or not there."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from itertools import zip_longest
from typing import Generic, TextIO, TypeVar

from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.page import Page
from bazar_cli.terminal.output import Format, Renderer
from bazar_cli.terminal.run_output import current_folder
from bazar_cli.terminal.views.base import View

T = TypeVar("T")
_OPTION = "--results"
_ANOTHER_FILE = f"choose another file for {_OPTION}"


class ResultsFile(Generic[T]):
    """Writes results as CSV to a name that ends with .csv, else as JSON Lines; only this user can read them.

    Parameters: `named` is the path that the operator gave; `overwrite` allows to replace a file; `earlier` returns the
    form that a row had before its outcome.
    Raises: UsageError `usage.invalid_value` for an empty name.
    """

    def __init__(
        self, named: str, view: View[T], environ: Mapping[str, str], *, overwrite: bool, earlier: Callable[[T], T]
    ) -> None:
        if not named:
            raise UsageError("usage.invalid_value", "--results is empty", hint="name a file, or leave it out")
        self._named = named
        self._path = current_folder() / named
        self._view = view
        self._environ = environ
        self._overwrite = overwrite
        self._earlier = earlier
        self._format = Format.CSV if named.lower().endswith(".csv") else Format.JSONL

    def check(self, rows: Callable[[], Iterable[Page[T]]] | None) -> None:
        """Refuse a folder that cannot be written, and a file that may not be replaced.

        One that an interrupted command wrote may be replaced: each line is the present result of `rows`, or what it was
        before its outcome.
        Raises: Conflict `files.exists`; StoreUnusable `files.not_regular`, `files.unwritable`; BackendUnavailable
        `files.no_room`.
        """
        from bazar_cli.adapters.files import file_errors, refuse_taken

        may_replace = self._overwrite or (rows is not None and self._has_results(rows))
        refuse_taken(self._path, self._named, overwrite=may_replace, option=_OPTION)
        with file_errors(self._path, _ANOTHER_FILE, named=self._named), tempfile.TemporaryFile(dir=self._path.parent):
            pass

    def write(self, rows: Callable[[], Iterable[Page[T]]]) -> None:
        """Write the results; the file gets its name when it is complete. Raises: as `check`."""
        from bazar_cli.adapters.files import new_private_text

        may_replace = self._overwrite or self._has_results(rows)
        with new_private_text(self._path, overwrite=may_replace, named=self._named, option=_OPTION) as stream:
            self._render(rows(), stream)

    def _has_results(self, rows: Callable[[], Iterable[Page[T]]]) -> bool:
        """Say whether a file is there with these results, or some from before their outcome."""
        from bazar_cli.adapters.files import file_errors

        if not self._path.is_file():
            return False
        before = (Page(tuple(map(self._earlier, page.items)), None) for page in rows())
        folder = self._path.parent
        with (
            file_errors(self._path, _ANOTHER_FILE, named=self._named),
            self._path.open(encoding="utf-8", errors="replace", newline="") as there,
            tempfile.TemporaryFile("w+", encoding="utf-8", newline="", dir=folder) as made,
            tempfile.TemporaryFile("w+", encoding="utf-8", newline="", dir=folder) as made_before,
        ):
            for pages, file in ((rows(), made), (before, made_before)):
                self._render(pages, file)
                file.seek(0)
            return all(line in forms for line, *forms in zip_longest(there, made, made_before))

    def _render(self, pages: Iterable[Page[T]], stream: TextIO) -> None:
        Renderer(self._format, None, self._environ, stream).pages(self._view, pages)
