"""The lines of a batch: read with a bound, split as a shell does, and each resolved to a command."""

from __future__ import annotations

import os
import re
import select
import shlex
import stat
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass

from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.texts import BYTE_ORDER_MARK, counted
from bazar_cli.domain.urls import HIDDEN
from bazar_cli.registry import Group, Leaf, default_of, resolve

MAX_LINE_BYTES = 1 << 20
_SHOWN = 20
"""Wrong lines that the error of a file shows; its details have the first `_DETAILED`."""
_DETAILED = 1000
_CHUNK_BYTES = 1 << 16
_WAIT_SECONDS = 0.2
"""How soon a reader of a silent pipe sees that the batch stops."""
_BEFORE, _NEVER = "run it before the batch", "leave it out"
_EXCLUDED = {
    **dict.fromkeys(("auth", "config", "local"), _BEFORE),
    "db drop": "run it after the batch, whose other lines use the database",
    **dict.fromkeys(("batch", "completion", "help", "serve"), _NEVER),
}
"""What other lines rest on, and texts for people; and for each the next step."""
_CODE = re.compile(r"""(?:\\.\#?|'[^']*'|"(?:\\.|[^"\\])*"|(?<=\S)\#|[^#'"\\])*""", re.DOTALL)
"""A line up to its comment. As in a shell, `#` begins a comment only where a word may begin."""


_SECRET = re.compile(
    r"""(?P<option>--(?!generate-)[\w-]*(?:pass|pwd|secret|token)[\w-]*)(?P<between>\s*=\s*|\s+(?!-))"""
    r"""(?P<value>"(?:\\.|[^"\\])*"|'[^']*'|[^\s'"]\S*)""",
    re.IGNORECASE,
)
"""An option that is named as if it took a secret, and its value. No option of bazar takes one."""


@dataclass(frozen=True)
class Line:
    """A command line, and its command."""

    number: int
    """From 1."""
    text: str
    """As results show it: without the secrets that it should not have."""
    secrets: tuple[str, ...] = ()
    """Values of options that are named as if they took a secret."""
    leaf: Leaf | None = None
    path: tuple[str, ...] = ()
    """The words that name the command, or a group of commands."""
    arguments: tuple[str, ...] = ()
    error: UsageError | None = None
    """Why it cannot be run; then there is no command."""


def lines_of(descriptor: int, is_stopping: Callable[[], bool]) -> Iterator[Line]:
    """Yield the command lines of a file or pipe, without empty lines and comments, until the batch stops."""
    number = 0
    for number, content in enumerate(_split(_chunks(descriptor, is_stopping)), start=1):
        line = _parsed(number, content)
        if line is not None:
            yield line


def refuse_invalid_file(descriptor: int, check: Callable[[Line], None], remember: Callable[[str], None]) -> None:
    """Refuse a file with lines that cannot be run, before one runs. Of a pipe each line is checked when it comes.

    Parameters: `check` raises UsageError for arguments that the command of a line does not take; `remember` gets the
    secrets of lines, which no message may show.
    Raises: UsageError `batch.line_invalid`, naming the lines.
    """
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return
    start = os.lseek(descriptor, 0, os.SEEK_CUR)
    wrong: list[tuple[int, UsageError]] = []
    count = 0
    for line in lines_of(descriptor, lambda: False):
        for secret in line.secrets:
            remember(secret)
        error = line.error or _refusal(line, check)
        if error is not None:
            count += 1
            wrong += [(line.number, error)] if count <= _DETAILED else []
    os.lseek(descriptor, start, os.SEEK_SET)
    if not wrong:
        return
    named = [f"line {number}: {error.message}" for number, error in wrong[:_SHOWN]]
    if count > _SHOWN:
        named.append(f"and {count - _SHOWN} more")
    raise UsageError(
        "batch.line_invalid",
        f"{counted(count, 'line')} cannot be run, so no line was run",
        below=named,
        hint=wrong[0][1].hint if count == 1 else "correct these lines",
        details={"lines": [{"line": n, "code": e.code, "message": e.message} for n, e in wrong]},
    )


def _refusal(line: Line, check: Callable[[Line], None]) -> UsageError | None:
    try:
        check(line)
    except UsageError as error:
        return error
    return None


def _chunks(descriptor: int, is_stopping: Callable[[], bool]) -> Generator[bytes]:
    while not is_stopping():
        if not select.select([descriptor], [], [], _WAIT_SECONDS)[0]:
            continue
        try:
            chunk = os.read(descriptor, _CHUNK_BYTES)
        except OSError as error:
            raise UsageError(
                "batch.unreadable",
                f"the commands cannot be read: {os.strerror(error.errno or 0)}",
                hint="name a file or a pipe with one command on each line",
            ) from error
        if not chunk:
            return
        yield chunk


def _split(chunks: Iterable[bytes]) -> Generator[bytes]:
    """Yield lines without their ends; of a line that is too long only the first part."""
    rest = bytearray()
    for chunk in chunks:
        *ended, last = chunk.split(b"\n")
        for part in ended:
            rest += part[: MAX_LINE_BYTES + 2 - len(rest)]
            yield bytes(rest)
            rest.clear()
        rest += last[: MAX_LINE_BYTES + 2 - len(rest)]
    if rest:
        yield bytes(rest)


def _parsed(number: int, content: bytes) -> Line | None:
    """Return a line with its command, or with its error; None for an empty line or a comment."""
    content = content.removesuffix(b"\r")
    text = content[:200].decode(errors="backslashreplace")
    words: list[str] = []
    count = 0
    try:
        if len(content) > MAX_LINE_BYTES:
            raise _invalid("it is longer than 1 MiB", "write it shorter")
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            raise _invalid(f"it is not UTF-8 text: byte {error.start + 1}", "save the file as UTF-8") from error
        text = text.removeprefix(BYTE_ORDER_MARK) if number == 1 else text
        words = _words(text)
        if not words:
            return None
        node, count = resolve(words)
        leaf = _command(node, words, count)
    except UsageError as error:
        return Line(number, *_shown(text), None, tuple(words[:count]), tuple(words[count:]), error)
    return Line(number, *_shown(text), leaf, tuple(words[:count]), tuple(words[count:]))


def _shown(text: str) -> tuple[str, tuple[str, ...]]:
    """Return a line without secrets, and the secrets."""
    secrets = tuple(found["value"].strip("'\"") for found in _SECRET.finditer(text))
    return _SECRET.sub(rf"\g<option>\g<between>{HIDDEN}", text).strip(), secrets


def _words(text: str) -> list[str]:
    if "\0" in text:
        raise _invalid("it has a NUL character", "save the file as text")
    code = _CODE.match(text)
    assert code is not None, "the pattern matches an empty text"
    is_comment = text[code.end() :].startswith("#")
    try:
        words = shlex.split(code[0] if is_comment else text)
    except ValueError as error:
        raise _invalid(f"it cannot be split into words: {str(error).lower()}", "quote it as in a shell") from error
    return words[1:] if words[:1] == ["bazar"] else words


def _command(node: Group | Leaf, words: list[str], count: int) -> Leaf:
    """Return the command of a line. Parameters: `node` is what its first `count` words name."""
    for name in (words[0], " ".join(words[:2])):
        if name in _EXCLUDED:
            raise _invalid(f"a batch does not run `bazar {name}`", _EXCLUDED[name])
    if isinstance(node, Leaf):
        return node
    default = default_of(node)
    if default is not None and (count == len(words) or words[count].startswith("-")):
        return default
    named = " ".join(["bazar", *words[: count + 1]])
    raise _invalid(f"`{named}` is not a command", f"`{' '.join(['bazar', *words[:count]])} --help` lists them")


def _invalid(message: str, hint: str) -> UsageError:
    return UsageError("batch.line_invalid", message, hint=hint)
