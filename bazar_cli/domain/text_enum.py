"""Enums of words: `enum.StrEnum` is new in Python 3.11."""

from __future__ import annotations

from enum import Enum


class TextEnum(str, Enum):
    """An enum of words, each of which is its own text, also in an f-string."""

    def __str__(self) -> str:
        return str(self.value)
