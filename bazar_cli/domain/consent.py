"""Consent: the impact of a change, and whether the operator agreed to exactly that impact."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeVar, cast

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
    """The kind of name, for texts: `the slug`."""
    code: str
    """The error code where it is missing, or another word was given."""
    any_case: bool = False

    def matches(self, given: str) -> bool:
        """Whether this is the name; `any_case` is for names that are stored in lower case."""
        return composed(given.lower() if self.any_case else given) == composed(self.value)


@dataclass(frozen=True)
class Impact:
    """The rows and rights that a use case would remove."""

    text: str
    """The effects of the change, in sentences for people. --yes shows it in a real run, so it is true there too."""
    question: str
    command: str
    """The same change as a command line, with consent."""
    subject: tuple[str, ...] = ()
    """The values that must be the same when the change is made."""
    users: int = 0
    """How many users lose something; consent does not cover more of them."""
    details: Mapping[str, object] = field(default_factory=dict[str, object])
    word: Word | None = None
    """The word that must be typed; without one a yes is enough."""

    def covers(self, now: Impact) -> bool:
        """Whether consent to this impact is consent to `now`."""
        return (self.subject, self.word) == (now.subject, now.word) and now.users <= self.users

    def for_any_number(self) -> Impact:
        """The same impact for any number of users: the consent of `--yes`."""
        return replace(self, users=sys.maxsize)

    def confirmed_by(self, given: str) -> Impact:
        """Return this impact if its word was typed. Raises: Refused with the code of the word."""
        assert self.word is not None, "an impact without a word takes a yes"
        if self.word.matches(given):
            return self
        shown = repr(given if len(given) <= _SHOWN else f"{given[:_SHOWN]}...")
        raise Refused(
            self.word.code,
            f"{self.text}. {_needs(self.word)}, and {shown} is not it",
            hint=f"to do it: `{self.command}`",
            details={**self.details, "confirm": shown[1:-1]},
        )


Consent: TypeAlias = Impact | str | None
"""The consent of a request: the impact that a person agreed to, the word of an option, or nothing."""


class ConsentNeeded(Refused):
    """Nobody agreed to an impact yet; nothing was written.

    The terminal asks and runs the use case again. Without a terminal this error ends the command.
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


def check_consent(impact: Impact, given: Consent, *, optional: bool = False) -> None:
    """Return if what was given is consent to the impact.

    Parameters: `given` is the impact that a person was shown and agreed to, or the word of an option; `optional` says
    that no consent is needed, as in a dry run. A wrong word is refused there too.
    Raises: ConsentNeeded, also for an impact that changed since it was shown; Refused as `Impact.confirmed_by`.
    """
    if isinstance(given, str) and impact.word is not None:
        impact.confirmed_by(given)
    elif not optional and not (isinstance(given, Impact) and given.covers(impact)):
        raise ConsentNeeded(impact)


def with_consent(request: Request, agreed: Impact) -> Request:
    """Return the request with the impact that a person agreed to: as `confirm` if that took a word, or `agreed`."""
    return cast("Request", replace(cast("Any", request), **{"confirm" if agreed.word else "agreed": agreed}))


def _needs(word: Word) -> str:
    return f"It needs {word.what} as confirmation"
