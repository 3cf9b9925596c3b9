"""Read the stack's logs: their last lines, then new lines as they are written."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from bazar_cli.adapters.files import file_errors, tail
from bazar_cli.adapters.ownership import open_named

_PAUSE_SECONDS = 0.25
_LINE_BYTES = 64 * 1024
"""The longest line of these logs."""


def read(files: Mapping[str, Path], lines: int, *, follow: bool) -> Iterator[str]:
    """Yield the last `lines` lines of each log, then with `follow` every new line until the caller stops.

    Parameters: `files` maps a component's name to its log; with several logs each line begins with the name.
    Raises: StoreUnusable `files.unwritable` for a log that cannot be read.
    """
    followers: list[_Follower] = []
    try:
        for name, path in files.items():
            prefix = f"{name}: " if len(files) > 1 else ""
            end: int | None = None
            if follow:
                # The follower begins exactly where the tail ends.
                with file_errors(path):
                    followers.append(_Follower(prefix, path))
                end = followers[-1].offset
            for line in tail(path, lines, end=end):
                yield prefix + line
        while followers:
            quiet = True
            for follower in followers:
                with file_errors(follower.path):
                    found = list(follower.new_lines())
                quiet = quiet and not found
                yield from found
            if quiet:
                time.sleep(_PAUSE_SECONDS)
    finally:
        for follower in followers:
            follower.close()


def _end_of_last_line(stream: BinaryIO) -> int:
    """Move to the end of the last complete line, so that a half-written line is read when it is complete."""
    end = stream.seek(0, os.SEEK_END)
    start = max(0, end - _LINE_BYTES)
    stream.seek(start)
    newline = stream.read(end - start).rfind(b"\n")
    return stream.seek(start + newline + 1 if newline >= 0 else start)


class _Follower:
    """Reads new lines of one log, also after a rotation, and of a log that is made later."""

    def __init__(self, prefix: str, path: Path) -> None:
        self._prefix = prefix
        self.path = path
        self._rest = b""
        self._stream: BinaryIO | None = self._open()
        self.offset = 0 if self._stream is None else _end_of_last_line(self._stream)

    def new_lines(self) -> Iterator[str]:
        """Yield the complete lines that were added since the last call."""
        if self._stream is None:
            self._stream = self._open()
        if self._stream is None:
            return
        chunk = self._stream.read()
        if not chunk and self._replaced(self._stream):
            self.close()
            return
        whole = (self._rest + chunk).split(b"\n")
        self._rest = whole.pop()
        for line in whole:
            yield self._prefix + line.decode("utf-8", errors="replace")

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _open(self) -> BinaryIO | None:
        try:
            return os.fdopen(open_named(self.path), "rb")
        except FileNotFoundError:
            return None

    def _replaced(self, stream: BinaryIO) -> bool:
        mine = os.fstat(stream.fileno())
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return True
        return (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino) or now.st_size < stream.tell()
