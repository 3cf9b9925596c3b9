"""Characters that copying leaves around the value of a variable: quotes, white space, the name of the variable."""

from __future__ import annotations

import re
from dataclasses import dataclass

_QUOTES = frozenset("\"'`\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb")
_TAKE_SPACE = "remove it from {name}; `printf %s` writes no line break, `echo` does"
_TAKE_QUOTES = "write {name} without quotes: a shell removes them, `docker --env-file` and CI settings do not"


@dataclass(frozen=True)
class Surplus:
    """Characters of a value that do not belong to it, described without quoting the value."""

    what: str
    """A sentence whose subject is `it`, the value."""
    remedy: str
    """The name of the variable."""


def surplus(name: str, value: str, *, any_character: bool = False) -> Surplus | None:
    """Return the characters around a value that do not belong to it; None where there are none.

    Parameters: `name` is the variable; `any_character` is for a value that may begin or end with any character, like a
    password: then only a pair of quotes and a line break count.
    """
    if not value:
        return None
    ends = (("begins", value[0]), ("ends", value[-1]))
    for side, character in ends:
        if character in "\r\n":
            return Surplus(f"it {side} with a line break", _TAKE_SPACE.format(name=name))
        if not any_character and (character.isspace() or not character.isprintable()):
            return Surplus(f"it {side} with white space or an invisible character", _TAKE_SPACE.format(name=name))
    sides = [side for side, character in ends if character in _QUOTES]
    if len(value) > 1 and len(sides) > int(any_character):
        verb, quotes = " and ".join(sides), "a quote, which counts" if len(sides) == 1 else "quotes, which count"
        return Surplus(f"it {verb} with {quotes} as part of it", _TAKE_QUOTES.format(name=name))
    if not any_character and re.match(rf"(?:export\s+)?{re.escape(name)}\s*=", value):
        return Surplus(f"it begins with {name}=", f"set {name} to the text after {name}= only")
    return None
