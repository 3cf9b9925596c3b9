"""A set of ids that stays small: 16 bytes an id and a little, where Python's own needs about 80."""

from __future__ import annotations

from uuid import UUID

_WIDTH = 16
_TAIL = 2
"""So many bytes at the end choose the bucket: they are random in every kind of UUID that bazar meets."""


class IdSet:
    """Ids that were seen, for comparing a million of them in flat memory."""

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
        while at % _WIDTH and at >= 0:  # the end of one id and the beginning of the next are none
            at = bucket.find(wanted.bytes, at + 1)
        return at >= 0

    def __len__(self) -> int:
        return self._count
