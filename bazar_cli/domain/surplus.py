"""What copying leaves around the value of a variable: quotes, white space, the variable's own name."""

from __future__ import annotations

import re
from dataclasses import dataclass

_QUOTES = frozenset("\"'`\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb")
_TAKE_SPACE = "take it out of {name}; `printf %s` writes no line break, `echo` does"
_TAKE_QUOTES = "write {name} without quotes: only a shell takes them away, `docker --env-file` and CI settings do not"


@dataclass(frozen=True)
class Surplus:
    """What a value has too much, without repeating any of the value."""

    what: str
    """A sentence about `it`, the value."""
    mend: str
    """What to do about it, which names the variable."""


def surplus(name: str, value: str, *, any_character: bool = False) -> Surplus | None:
    """Return what stands around a value that does not belong to it; None where nothing does.

    Parameters: `name` is the variable's; `any_character` says that a value may begin or end with whatever it
    likes, as a password may: then only a pair of quotes, and a line break at the end, cannot be meant.
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
        return Surplus(f"it begins with {name}=", f"give the variable {name} only what stands behind {name}=")
    return None
