"""Standard output and error: data to the one, everything else to the other."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from typing import TextIO

from bazar_cli.domain.errors import BazarError
from bazar_cli.runtime.escape import escaped_lines

_HINT = "the command itself was done; look at its result again, or make room and repeat it"
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


def use_utf8() -> None:
    """Make both streams UTF-8, and let no character of the data stop a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


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


def say(text: str) -> None:
    """Write one message to standard error, control characters in quoted data escaped."""
    tell(escaped_lines(text) + "\n")


def tell(text: str) -> None:
    """Write to standard error as it stands.

    What cannot be written, to a closed pipe or a full disk, stops no command half-way.
    """
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        silence(sys.stderr)


def write(stream: TextIO, text: str) -> None:
    """Write a piece of a result. Raises: BrokenPipeError; BazarError `output.unwritable`."""
    try:
        stream.write(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise unwritable(error) from error


def flush(stream: TextIO) -> None:
    """Send on what was written. Raises: BrokenPipeError; BazarError `output.unwritable`."""
    try:
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise unwritable(error) from error


def unwritable(error: OSError, hint: str = _HINT) -> BazarError:
    """Return the error for a result that standard output did not take, which is tried no more."""
    silence(sys.stdout)
    return BazarError(
        "output.unwritable",
        f"the result could not be written to standard output: {error.strerror}",
        hint=hint,
    )


def silence(stream: TextIO) -> None:
    """Point a stream at nothing, so that the interpreter's last flush of a closed pipe stays quiet."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, stream.fileno())
    except (OSError, ValueError):
        return
    finally:
        os.close(nothing)
