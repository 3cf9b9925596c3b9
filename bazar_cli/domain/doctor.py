"""The doctor: checks, what they found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from bazar_cli.domain.access import public

EXAMINE = public("doctor", "it probes configuration and reachability, and reads no data")


class Health(str, Enum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Check:
    """One check: what was looked at, what was found, and the remedy where one is needed."""

    name: str
    status: Health
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All checks, in the order they ran."""

    checks: tuple[Check, ...]

    @property
    def findings(self) -> tuple[Check, ...]:
        """The checks that ask for something to be done."""
        return tuple(c for c in self.checks if c.status in {Health.WARNING, Health.FAILED})
