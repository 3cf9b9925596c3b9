"""Normalization of input texts, so that programs and keyboards make no difference.

Each channel calls this once, where its text arrives: arguments in `terminal.typer_lite`, data on standard input and in
files in `terminal.run`, answers in `terminal.prompt`, environment variables, env files and profiles in `environment`.
Paths, URLs and keys are not changed, and of a password only the characters that a pipe adds are removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

BYTE_ORDER_MARK = "\ufeff"
_TEXTS = frozenset({"BAZAR_ALLOW_PLAINTEXT", "BAZAR_OUTPUT", "BAZAR_PROFILE", "SUPERUSER_EMAIL"})
_PASSWORDS = frozenset({"BAZAR_SEED_PASSWORD", "SUPERUSER_PASSWORD"})
_CREDENTIALS = frozenset(
    {
        "BAZAR_API_URL",
        "BAZAR_TOKEN",
        "DATABASE_MIGRATION_URL",
        "DATABASE_URL",
        "SUPABASE_ANON_KEY",
        "SUPABASE_KEY",
        "SUPABASE_URL",
    }
)


_MOST_DIGITS = 300
"""The longest whole number in JSON: a number of this length is also a valid float."""


class Verbatim(str):
    """A value of the command line that is not normalized: a path or a URL."""

    __slots__ = ()


def normalized(text: str) -> str:
    """Return a text without a byte order mark, with `\\n` as its line ends, in composed Unicode (NFC)."""
    text = without_mark(text)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return composed(text)


def composed(text: str) -> str:
    """Return a text in composed Unicode (NFC)."""
    return text if text.isascii() else _in_form("NFC", text)


def decomposed(text: str) -> str:
    """Return a text in decomposed Unicode (NFD), in which another program may have stored it."""
    return text if text.isascii() else _in_form("NFD", text)


def password(text: str) -> str:
    """Return a password without the byte order mark and the one line end that a pipe or an editor adds."""
    text = without_mark(text)
    return text.removesuffix("\n").removesuffix("\r")


def without_mark(text: str) -> str:
    """Return a text without a byte order mark at its beginning."""
    return text.removeprefix(BYTE_ORDER_MARK)


def normalized_bytes(content: bytes) -> bytes:
    """Return the bytes of a UTF-8 text without a byte order mark, with `\\n` as line ends."""
    return content.removeprefix(BYTE_ORDER_MARK.encode()).replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def from_json(text: str | bytes, **options: Any) -> Any:
    """Return the value of a JSON text.

    Raises: ValueError with the place of the fault for people; also for deep nesting and for a long number.
    """
    import json

    try:
        return json.loads(text, parse_int=_integer, **options)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno} column {error.colno}") from error
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the JSON object of these pairs, as an `object_pairs_hook`.

    Raises: ValueError for a key that occurs twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the key {twice[:40]!r} twice")
    return found


def json_kind(value: object) -> str:
    """Return the kind of a JSON value, for messages."""
    kinds: tuple[tuple[type, str], ...] = ((dict, "an object"), (list, "a list"), (str, "a text"), (bool, "a boolean"))
    return "null" if value is None else next((name for kind, name in kinds if isinstance(value, kind)), "a number")


def plain_reason(text: str) -> str:
    """Return the text of an error of a library without an error number, or a place in C code.

    Such as `[Errno 111] Connection refused` and `[SSL: NAME] certificate verify failed (_ssl.c:1010)`.
    """
    import re

    return re.sub(r"\[(?:Errno -?\d+|SSL: \w+)\] | \(_ssl\.c:\d+\)", "", text)


def nonempty_text(value: object) -> str:
    """Return a value of JSON that must be a text, and not an empty one. Raises: ValueError."""
    if not isinstance(value, str) or not value:
        raise ValueError("not a text")
    return value


def whole_number(text: str, digits: int = 18) -> int | None:
    """Return the number of a text of ASCII digits; None for another text, and for more than `digits` digits.

    Python's `int` also takes other digits and underscores, and raises for more than 4300.
    """
    return int(text) if len(text) <= digits and text.isascii() and text.isdigit() else None


def environment(values: Mapping[str, str]) -> dict[str, str]:
    """Return environment variables, with the values of bazar's own variables normalized."""
    return {name: _value(name, value) for name, value in values.items()}


def _value(name: str, value: str) -> str:
    if name in _TEXTS:
        return normalized(value)
    if name in _PASSWORDS:
        return password(value)
    return without_mark(value) if name in _CREDENTIALS else value


def _integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number in it has {len(text)} digits, more than {_MOST_DIGITS}")
    return int(text)


def _in_form(form: Literal["NFC", "NFD"], text: str) -> str:
    # A listing, `--version` and most commands never need it.
    import unicodedata

    return unicodedata.normalize(form, text)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun in the right form, such as `1 identity` and `2 identities`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun[-1] == "y" and noun[-2] not in "aeiou" else f"{number} {noun}s"
