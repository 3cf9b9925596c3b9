"""A set of ids that needs little memory: about 16 bytes for each id, where Python's own set needs about 80."""

from __future__ import annotations

from uuid import UUID

_WIDTH = 16
_TAIL = 2
"""How many bytes at the end choose the bucket; they are random in every kind of UUID that bazar meets."""


class IdSet:
    """Ids that were seen: a million of them fit into flat memory."""

    def __init__(self) -> None:
        self._buckets: dict[bytes, bytearray] = {}
        self._count = 0

    def add(self, wanted: UUID) -> None:
        """Remember an id."""
        if wanted in self:
            return
        self._buckets.setdefault(wanted.bytes[-_TAIL:], bytearray()).extend(wanted.bytes)
        self._count += 1

    def __contains__(self, wanted: UUID) -> bool:
        bucket = self._buckets.get(wanted.bytes[-_TAIL:], bytearray())
        at = bucket.find(wanted.bytes)
        while at % _WIDTH and at >= 0:  # a match across two ids is no id
            at = bucket.find(wanted.bytes, at + 1)
        return at >= 0

    def __len__(self) -> int:
        return self._count
