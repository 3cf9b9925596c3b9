"""The file of results of a bulk command: complete under its name, or not there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Generic, TextIO, TypeVar

from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.page import Page
from bazar_cli.terminal.output import Format, Renderer
from bazar_cli.terminal.run_output import current_folder
from bazar_cli.terminal.views.base import View

T = TypeVar("T")
_ANOTHER_FILE = "choose another file for --results"


class ResultsFile(Generic[T]):
    """Writes results as CSV to a name that ends with .csv, else as JSON Lines; only this user can read them.

    Parameters: `named` is the path that the operator gave; `overwrite` allows to replace a file.
    Raises: UsageError `usage.invalid_value` for an empty name.
    """

    def __init__(self, named: str, view: View[T], environ: Mapping[str, str], *, overwrite: bool) -> None:
        if not named:
            raise UsageError("usage.invalid_value", "--results is empty", hint="name a file, or leave it out")
        self._named = named
        self._path = current_folder() / named
        self._view = view
        self._environ = environ
        self._overwrite = overwrite
        self._format = Format.CSV if named.lower().endswith(".csv") else Format.JSONL

    def check(self, *, may_exist: bool) -> None:
        """Refuse a folder that cannot be written; without `may_exist` also a file that may not be replaced.

        Raises: Conflict `files.exists`; StoreUnusable `files.not_regular`, `files.unwritable`; BackendUnavailable
        `files.no_room`.
        """
        from bazar_cli.adapters.files import file_errors, refuse_taken

        refuse_taken(self._path, self._named, overwrite=self._overwrite or may_exist)
        with file_errors(self._path, _ANOTHER_FILE, named=self._named), tempfile.TemporaryFile(dir=self._path.parent):
            pass

    def write(self, pages: Iterable[Page[T]]) -> None:
        """Write the results; the file gets its name when it is complete. One that has these results is kept.

        A command that was killed after it wrote them is continued so. Raises: as `check`.
        """
        from bazar_cli.adapters.files import new_private_text, refuse_taken

        if self._path.is_file() and not self._overwrite:
            if not self._has_content(pages):
                refuse_taken(self._path, self._named, overwrite=False)
            return
        with new_private_text(self._path, overwrite=self._overwrite, named=self._named) as stream:
            self._render(pages, stream)

    def _has_content(self, pages: Iterable[Page[T]]) -> bool:
        """Say whether the file that is there has these results."""
        from bazar_cli.adapters.files import file_errors

        with (
            file_errors(self._path, _ANOTHER_FILE, named=self._named),
            self._path.open(encoding="utf-8", newline="") as there,
            tempfile.TemporaryFile("w+", encoding="utf-8", newline="", dir=self._path.parent) as made,
        ):
            self._render(pages, made)
            made.seek(0)
            return all(one == other for one, other in zip_longest(there, made))

    def _render(self, pages: Iterable[Page[T]], stream: TextIO) -> None:
        Renderer(self._format, None, self._environ, stream).pages(self._view, pages)
