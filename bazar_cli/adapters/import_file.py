"""A file to import: read as often as needed, and proven to be the same each time."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bazar_cli.adapters.files import file_errors
from bazar_cli.domain.errors import Conflict

_CHUNK_BYTES = 1 << 18


@dataclass(frozen=True)
class ImportFile:
    """The bytes of a file. Parameters: `named` is its name in messages."""

    named: str
    content_hash: bytes = field(repr=False)
    """SHA-256 of its bytes."""
    descriptor: int

    @property
    def beginning(self) -> bytes:
        """Its first bytes, which show its format."""
        return os.pread(self.descriptor, 64, 0)

    def chunks(self) -> Iterator[bytes]:
        """Yield all bytes. Raises: Conflict `imports.file_changed` at the end, if they are not the same any more."""
        found = hashlib.sha256()
        for chunk in _chunks(self.descriptor, self.named):
            found.update(chunk)
            yield chunk
        if found.digest() != self.content_hash:
            raise Conflict(
                "imports.file_changed",
                f"{self.named} changed while it was read",
                hint="run the command again when no other program writes the file",
            )


@contextmanager
def import_file(descriptor: int, named: str) -> Generator[ImportFile]:
    """Lend the file of a descriptor. A pipe is first copied to a private file without a name.

    Raises: BackendUnavailable `files.no_room`; StoreUnusable `files.unwritable`.
    """
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        yield _hashed(descriptor, named)
        return
    with (
        file_errors(Path(tempfile.gettempdir()), "name a folder with room by TMPDIR"),
        tempfile.TemporaryFile() as copy,
    ):
        while chunk := os.read(descriptor, _CHUNK_BYTES):
            copy.write(chunk)
        copy.flush()
        yield _hashed(copy.fileno(), named)


def _hashed(descriptor: int, named: str) -> ImportFile:
    found = hashlib.sha256()
    for chunk in _chunks(descriptor, named):
        found.update(chunk)
    return ImportFile(named, found.digest(), descriptor)


def _chunks(descriptor: int, named: str) -> Iterator[bytes]:
    place = 0
    with file_errors(Path(named), "choose another FILE", named=named):
        while chunk := os.pread(descriptor, _CHUNK_BYTES, place):
            place += len(chunk)
            yield chunk
