"""Consent: what a change takes away, and whether somebody agreed to that very change."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

from bazar_cli.domain.errors import Refused
from bazar_cli.domain.texts import composed

Request = TypeVar("Request")

_SHOWN = 80
"""How many characters of a wrong word are shown."""


@dataclass(frozen=True)
class Word:
    """A name that must be typed before a change is made."""

    value: str
    what: str
    """What the name is, for texts: `the slug`."""
    code: str
    """The error code where it is missing, or another word was given."""
    any_case: bool = False

    def matches(self, given: str) -> bool:
        """Whether this is the name; `any_case` is for names that are stored in lower case."""
        return composed(given.lower() if self.any_case else given) == composed(self.value)


@dataclass(frozen=True)
class Impact:
    """What a use case would take away."""

    text: str
    """What the change does, in sentences for people. --yes shows it in a real run, so it is true there too."""
    question: str
    command: str
    """The same change as a command line, with consent."""
    subject: tuple[str, ...] = ()
    """What must be the same when the change is made."""
    users: int = 0
    """How many users lose something; consent does not cover more of them."""
    details: Mapping[str, object] = field(default_factory=dict[str, object])
    word: Word | None = None
    """What must be typed; without it a yes is enough."""

    def covers(self, now: Impact) -> bool:
        """Whether consent to this impact is consent to `now`."""
        return self.subject == now.subject and now.users <= self.users

    def for_any_number(self) -> Impact:
        """The same impact for any number of users: the consent of `--yes`."""
        return replace(self, users=sys.maxsize)


class ConsentNeeded(Refused):
    """Nobody agreed to an impact yet; nothing was written.

    The terminal asks and runs the use case again. Where nobody can be asked this error ends the command.
    """

    def __init__(self, impact: Impact) -> None:
        word = impact.word
        super().__init__(
            "input.consent" if word is None else word.code,
            f"{impact.text}. " + (f"{impact.question} Nothing was done" if word is None else _needs(word)),
            hint=f"to do it: `{impact.command}`",
            details=impact.details,
        )
        self.impact = impact


def check_consent(impact: Impact, given: Impact | str | None, *, optional: bool = False) -> None:
    """Return where what was given covers the impact.

    Parameters: `given` is the impact that somebody agreed to, or the word that was typed; `optional` says that no
    consent is needed, as in a dry run. A wrong word is wrong there too.
    Raises: ConsentNeeded; Refused with the code of the word for a wrong one.
    """
    word = impact.word
    if word is not None and isinstance(given, str):
        if not word.matches(given):
            shown = repr(given if len(given) <= _SHOWN else f"{given[:_SHOWN]}...")
            raise Refused(
                word.code,
                f"{impact.text}. {_needs(word)}, and {shown} is not it",
                hint=f"to do it: `{impact.command}`",
                details={**impact.details, "confirm": shown[1:-1]},
            )
    elif not optional and not (isinstance(given, Impact) and given.covers(impact)):
        raise ConsentNeeded(impact)


def with_consent(request: Request, given: Impact | str) -> Request:
    """Return the same request with consent: a word as `confirm`, an impact as `agreed`."""
    return cast("Request", replace(cast("Any", request), **{"confirm" if isinstance(given, str) else "agreed": given}))


def _needs(word: Word) -> str:
    return f"It needs {word.what} as confirmation"
