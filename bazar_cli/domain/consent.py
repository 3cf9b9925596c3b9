"""What a change takes away, and whether that very change was agreed to."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Impact:
    """What a use case would take away, handed back in place of its result: nothing was written.

    Whoever agrees hands it in with the same request, and the use case acts only while it is still covered.
    """

    text: str
    """What the change does, in sentences for people. --yes shows it in a real run, so it is true there too."""
    question: str
    command: str
    """The same change as a command line, with consent."""
    subject: tuple[str, ...]
    """What must be the same when it acts."""
    users: int = 0
    """How many it takes something from; more than were agreed to are not covered."""
    details: Mapping[str, object] = field(default_factory=dict[str, object])

    def covers(self, now: Impact) -> bool:
        """Whether who agreed to this one agreed to what would happen now."""
        return self.subject == now.subject and now.users <= self.users

    def for_any_number(self) -> Impact:
        """The same, agreed to for however many users: the blank consent of `--yes`."""
        return replace(self, users=sys.maxsize)
