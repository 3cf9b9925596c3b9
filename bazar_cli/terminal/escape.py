"""Escapes for control characters in data, so that none reaches a terminal."""

from __future__ import annotations

import re

# C0 and C1 controls and DEL move the cursor or start sequences; the bidirectional and line-separator
# characters reorder or break lines; lone surrogates cannot be encoded.
_BEYOND_C0 = "\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_UNSAFE = re.compile(f"[\x00-\x1f{_BEYOND_C0}]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escaped(text: str) -> str:
    """Return `text` with every unsafe character written as an escape such as `\\x1b`."""
    return _UNSAFE.sub(_escape, text)


def escaped_json(text: str) -> str:
    """Return a JSON text with the unsafe characters that JSON allows written as `\\uXXXX`.

    They occur inside strings only, so the JSON has the same meaning. C0 controls are escaped already.
    """
    if text.isascii() and "\x7f" not in text:
        return text
    return re.sub(f"[{_BEYOND_C0}]", lambda m: f"\\u{ord(m[0]):04x}", text)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
