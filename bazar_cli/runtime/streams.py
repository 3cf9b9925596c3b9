"""Standard output and error: data to the one, everything else to the other."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from typing import TextIO

from bazar_cli.runtime.escape import escaped_lines

_OFF = frozenset({"", "0", "false", "no", "off"})


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
    sys.stderr.write(escaped_lines(text) + "\n")
    sys.stderr.flush()


def silence_stdout() -> None:
    """Point standard output at nothing, so that the interpreter's last flush of a closed pipe stays quiet."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, sys.stdout.fileno())
    except (OSError, ValueError):
        return
    finally:
        os.close(nothing)
