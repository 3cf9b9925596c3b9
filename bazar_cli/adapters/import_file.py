"""A file to import: read as often as needed, and proven to be the same each time."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bazar_cli.adapters.files import file_errors
from bazar_cli.domain.errors import Conflict

_CHUNK_BYTES = 1 << 18
_ANOTHER_FILE = "choose another FILE"


@dataclass(frozen=True)
class ImportFile:
    """The bytes of a file. Parameters: `named` is its name in messages."""

    named: str
    content_hash: bytes = field(repr=False)
    """SHA-256 of its bytes."""
    descriptor: int
    is_private: bool
    """No other program can change it."""

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
    def unchanging(self) -> Generator[ImportFile]:
        """Lend the file, or a private copy of a file that other programs may change.

        Raises: as `chunks`, before the block; as `import_file`.
        """
        if self.is_private:
            yield self
            return
        with _private_copy(self.chunks()) as copy:
            yield ImportFile(self.named, self.content_hash, copy, is_private=True)


@contextmanager
def import_file(descriptor: int, named: str) -> Generator[ImportFile]:
    """Lend the file of a descriptor. A pipe is first copied to a private file without a name.

    Raises: BackendUnavailable `files.no_room`; StoreUnusable `files.unwritable`.
    """
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        yield _hashed(descriptor, named, is_private=False)
        return
    with _private_copy(_of_pipe(descriptor, named)) as copy:
        yield _hashed(copy, named, is_private=True)


@contextmanager
def _private_copy(chunks: Iterable[bytes]) -> Generator[int]:
    """Lend the descriptor of a file without a name that has these bytes."""
    with ExitStack() as stack:
        with file_errors(Path(tempfile.gettempdir()), "name another folder by TMPDIR"):
            copy = stack.enter_context(tempfile.TemporaryFile())
            for chunk in chunks:
                copy.write(chunk)
            copy.flush()
        yield copy.fileno()


def _of_pipe(descriptor: int, named: str) -> Iterator[bytes]:
    with file_errors(Path(named), _ANOTHER_FILE, named=named):
        while chunk := os.read(descriptor, _CHUNK_BYTES):
            yield chunk


def _hashed(descriptor: int, named: str, *, is_private: bool) -> ImportFile:
    found = hashlib.sha256()
    for chunk in _chunks(descriptor, named):
        found.update(chunk)
    return ImportFile(named, found.digest(), descriptor, is_private)


def _chunks(descriptor: int, named: str) -> Iterator[bytes]:
    place = 0
    with file_errors(Path(named), _ANOTHER_FILE, named=named):
        while chunk := os.pread(descriptor, _CHUNK_BYTES, place):
            place += len(chunk)
            yield chunk
