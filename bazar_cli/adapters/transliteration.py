"""Letters of any script in ASCII."""

from __future__ import annotations


def in_ascii(text: str) -> str:
    """Return `text` with each character as its usual ASCII spelling, or without it where there is none."""
    if text.isascii():
        return text
    from anyascii import anyascii

    return anyascii(text)
