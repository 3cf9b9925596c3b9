"""Go durations, which Supabase Auth takes: `24h`, `-5m`, `1h30m`."""

from __future__ import annotations

import re

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([^0-9.]*)")
_MAX = 2**63 / 1e9
"""Go counts nanoseconds in 64 bits: about 292 years."""


class InvalidDuration(ValueError):
    """The text is not a Go duration. The message is Go's."""


def seconds_of(text: str) -> float:
    """Return the seconds of a Go duration. Raises: InvalidDuration with Go's message."""
    rest = text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")
    if rest == "0":
        return 0.0
    if not rest:
        raise InvalidDuration(f'time: invalid duration "{text}"')
    total, position = 0.0, 0
    while position < len(rest):
        part = _PART.match(rest, position)
        if part is None:
            raise InvalidDuration(f'time: invalid duration "{text}"')
        number, unit = part.groups()
        if not unit:
            raise InvalidDuration(f'time: missing unit in duration "{text}"')
        if unit not in _UNITS:
            raise InvalidDuration(f'time: unknown unit "{unit}" in duration "{text}"')
        total += float(number) * _UNITS[unit]
        position = part.end()
    if total >= _MAX:
        raise InvalidDuration(f'time: invalid duration "{text}"')
    return -total if text.startswith("-") else total
