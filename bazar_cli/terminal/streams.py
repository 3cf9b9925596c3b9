"""Standard output for results, standard error for everything else.

`keep_results` points file descriptor 1 to standard error and gives results another descriptor. So other code cannot
write between results: a `print` of a migration, a keyring's back end, a C library, a child process.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, TextIO

from bazar_cli.domain.errors import BackendUnavailable, UsageError
from bazar_cli.terminal.escape import escaped

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_OFF = frozenset({"", "0", "false", "no", "off"})


def open_closed() -> None:
    """Replace streams that the caller closed (`<&-`, `>&-`, `2>&-`), before another file gets their numbers.

    Messages are then dropped. Input cannot be read and results cannot be written, which are errors.
    """
    for number, (name, flags, mode) in enumerate(
        (("stdin", os.O_WRONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w"))
    ):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, flags)
            os.dup2(handle, number)
            if handle != number:
                os.close(handle)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


class Results(io.TextIOWrapper):
    """Standard output, for results only.

    A write error, because the reader has gone or a disk is full, does not end the command: `lost` holds it.
    """

    def __init__(self, descriptor: int) -> None:
        self.lost: OSError | None = None
        lines = os.isatty(descriptor)
        stream = os.fdopen(descriptor, "wb")
        super().__init__(stream, encoding="utf-8", errors="backslashreplace", line_buffering=lines)

    def write(self, text: str, /) -> int:
        """Write a piece of a result."""
        try:
            return super().write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        """Send on what was written."""
        try:
            super().flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        self.lost = self.lost or error
        silence(self.fileno())


class _Messages(io.FileIO):
    """Standard error. A write error, of a closed pipe or a full disk, does not stop the command."""

    def write(self, data: ReadableBuffer, /) -> int:
        rest = memoryview(data).cast("B")
        length = len(rest)
        with suppress(OSError):
            while rest and (written := super().write(rest)):
                rest = rest[written:]
        return length


_kept: Results | None = None
_messages: TextIO | None = None


def keep_results() -> Results:
    """Return a stream for results, the only one that writes to standard output; `print` writes to standard error."""
    global _kept, _messages
    sys.stdout.flush()
    _kept = Results(os.dup(1))
    os.dup2(2, 1)
    # By descriptor: other code may close or replace `sys.stdout`.
    sys.stdout, sys.stderr, _messages = _unbuffered(1), _unbuffered(2), _unbuffered(2)
    return _kept


@contextmanager
def prints_as_messages() -> Generator[None]:
    """Send printed text to standard error within the block; both streams are UTF-8 from then on."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        with suppress(OSError):
            sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def results() -> TextIO:
    """Return the stream of results."""
    return _kept or sys.stdout


def messages() -> TextIO:
    """Return the stream of everything else."""
    return _messages or sys.stderr


def readable_input() -> BinaryIO:
    """Return standard input. Raises: UsageError `input.unreadable` if it is closed, or open for writing only."""
    try:
        os.read(sys.stdin.fileno(), 0)
    except OSError as error:
        raise UsageError(
            "input.unreadable",
            f"standard input cannot be read: {error.strerror}",
            hint="pipe the input in, or redirect it from a file with <",
        ) from error
    return sys.stdin.buffer


def lost(stream: TextIO) -> OSError | None:
    """Return the write error of a stream of results, after which the rest is not needed."""
    return stream.lost if isinstance(stream, Results) else None


def _unbuffered(descriptor: int) -> TextIO:
    raw = _Messages(descriptor, "w", closefd=False)
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)


def is_terminal(stream: TextIO) -> bool:
    """Return whether a stream is a terminal and open."""
    try:
        return stream.isatty()
    except (ValueError, AttributeError):
        return False


def draws(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Return whether boxes may be drawn: on a capable terminal, or with CLICOLOR_FORCE."""
    if is_on(environ, "BAZAR_ACCESSIBLE"):
        return False
    if is_on(environ, "CLICOLOR_FORCE"):
        return True
    return is_terminal(stream) and environ.get("TERM") != "dumb"


def colours(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Return whether colour may be used: where boxes may, unless NO_COLOR is set."""
    return draws(stream, environ) and not environ.get("NO_COLOR")


def is_on(environ: Mapping[str, str], name: str) -> bool:
    """Return whether a switch of the environment is set, and not to a word that means off."""
    return environ.get(name, "").strip().lower() not in _OFF


def say(*lines: str) -> None:
    """Write one message to standard error, with escapes for line breaks and control characters inside each line."""
    write_message("".join(f"{escaped(line)}\n" for line in lines))


def write_message(text: str) -> None:
    """Write to standard error without escapes."""
    messages().write(text)
    messages().flush()


def silence(descriptor: int) -> None:
    """Point a descriptor at the null device, which takes the buffered and all later output."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)


def unwritable(error: OSError, hint: str) -> BackendUnavailable:
    """Return the error for a result that could not be written to standard output."""
    return BackendUnavailable(
        "output.unwritable",
        f"the result could not be written to standard output: {error.strerror}",
        hint=hint,
    )
