"""The file of results of a bulk command: complete under its name, or not there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.page import Page
from bazar_cli.terminal.output import Format, Renderer
from bazar_cli.terminal.run_output import current_folder
from bazar_cli.terminal.views.base import View

T = TypeVar("T")


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

    def check(self, *, is_new: bool) -> None:
        """Refuse a folder that cannot be written; with `is_new` also a file that exists and may not be replaced.

        Raises: Conflict `files.exists`; StoreUnusable `files.not_regular`, `files.unwritable`; BackendUnavailable
        `files.no_room`.
        """
        from bazar_cli.adapters.files import file_errors, refuse_taken

        refuse_taken(self._path, self._named, overwrite=self._overwrite or not is_new)
        hint = "choose another file for --results"
        with file_errors(self._path, hint, named=self._named), tempfile.TemporaryFile(dir=self._path.parent):
            pass

    def write(self, pages: Iterable[Page[T]]) -> None:
        """Write the results; the file gets its name when it is complete. Raises: as `check`."""
        from bazar_cli.adapters.files import new_private_text

        chosen = Format.CSV if self._named.lower().endswith(".csv") else Format.JSONL
        with new_private_text(self._path, overwrite=True, named=self._named) as stream:
            Renderer(chosen, None, self._environ, stream).pages(self._view, pages)
