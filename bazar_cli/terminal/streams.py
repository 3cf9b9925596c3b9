"""Standard output and error: results to the one, everything else to the other.

From `keep_results` on, file descriptor 1 is standard error too, and results have a descriptor of their own. So no code
of other people writes among them: a `print` of a migration, a keyring's back end, a C library, a child process.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from bazar_cli.domain.errors import BazarError
from bazar_cli.terminal.escape import escaped

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_OFF = frozenset({"", "0", "false", "no", "off"})


def open_closed() -> None:
    """Put a stream where the caller closed one (`<&-`, `>&-`, `2>&-`), before another file gets its number.

    Input is empty and messages go nowhere; results cannot be written, which is told as on a full disk.
    """
    for number, (name, flags, mode) in enumerate(
        (("stdin", os.O_RDONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w"))
    ):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, flags)
            os.dup2(handle, number)
            if handle != number:
                os.close(handle)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


class Results(io.TextIOWrapper):
    """Standard output, for results alone.

    What it does not take, because its reader has gone or a disk is full, ends no command: `lost` says why.
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
    """Standard error. What cannot be written, to a closed pipe or a full disk, stops nobody half-way."""

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
    """Keep standard output for what is written to the stream that this returns; `print` goes to standard error."""
    global _kept, _messages
    sys.stdout.flush()
    _kept = Results(os.dup(1))
    os.dup2(2, 1)
    # By numbers that stay open: other code may close its `sys.stdout` or put another stream in its place.
    sys.stdout, sys.stderr, _messages = _unbuffered(1), _unbuffered(2), _unbuffered(2)
    return _kept


@contextmanager
def prints_as_messages() -> Generator[None]:
    """For the block, send what is printed to standard error; both are UTF-8 from then on."""
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


def lost(stream: TextIO) -> OSError | None:
    """Return why results do not arrive any more: nobody needs the rest of them."""
    return stream.lost if isinstance(stream, Results) else None


def _unbuffered(descriptor: int) -> TextIO:
    raw = _Messages(descriptor, "w", closefd=False)
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)


def is_terminal(stream: TextIO) -> bool:
    """Say whether a stream is a terminal; a closed one is none."""
    try:
        return stream.isatty()
    except (ValueError, AttributeError):
        return False


def draws(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Say whether boxes and colour may be drawn: on a capable terminal, or where CLICOLOR_FORCE says so."""
    if is_on(environ, "BAZAR_ACCESSIBLE"):
        return False
    if is_on(environ, "CLICOLOR_FORCE"):
        return True
    return is_terminal(stream) and environ.get("TERM") != "dumb"


def colours(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Say whether colour may be used: where one may draw, unless NO_COLOR is set."""
    return draws(stream, environ) and not environ.get("NO_COLOR")


def is_on(environ: Mapping[str, str], name: str) -> bool:
    """Say whether a switch of the environment is on: set, and to none of the words that mean off."""
    return environ.get(name, "").strip().lower() not in _OFF


def say(*lines: str) -> None:
    """Write one message to standard error, each line of it escaped: what breaks a line in quoted data starts none."""
    tell("".join(f"{escaped(line)}\n" for line in lines))


def tell(text: str) -> None:
    """Write to standard error as it stands."""
    messages().write(text)
    messages().flush()


def silence(descriptor: int) -> None:
    """Point a descriptor at nothing, which takes what is still in a buffer, and the rest."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)


def unwritable(error: OSError, hint: str) -> BazarError:
    """Return the error for a result that standard output did not take."""
    return BazarError(
        "output.unwritable",
        f"the result could not be written to standard output: {error.strerror}",
        hint=hint,
    )
