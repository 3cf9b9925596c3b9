"""How the outcome of demo data is shown."""

from __future__ import annotations

from collections.abc import Callable

from bazar_cli.domain.demo.seed import Outcome, Seeded, SeededOrganization, SeededUser
from bazar_cli.terminal.views.base import View
from bazar_cli.terminal.views.encoding import shape

_MOST_NAMED = 20
"""Tables and warnings name this many users; the machine formats have all of them."""


def _line(name: str, outcome: Outcome, note: str) -> str:
    return f"{name}: {outcome}{f' ({note})' if note else ''}"


def _organization_lines(organizations: tuple[SeededOrganization, ...]) -> tuple[str, ...]:
    return tuple(_line(o.slug, o.outcome, o.note) for o in organizations)


def _user_lines(users: tuple[SeededUser, ...]) -> tuple[str, ...]:
    """Return a line for each of the first users, then for those that differ or failed."""
    named = [
        _line(u.email, u.outcome, u.note)
        for place, u in enumerate(users)
        if place < _MOST_NAMED or u.outcome in {Outcome.DIFFERS, Outcome.FAILED}
    ]
    more = len(users) - len(named)
    return (*named, *([f"and {more} more"] if more else []))


def _ids(seeded: Seeded) -> str | None:
    return "\n".join(str(u.id) for u in seeded.users if u.id is not None) or None


def warnings(seeded: Seeded) -> list[str]:
    """Return a text for each organization and user that failed or differs; of many the first, and how many follow."""
    parts = [
        *((o.slug, o.outcome, o.note) for o in seeded.organizations),
        *((u.email, u.outcome, u.note) for u in seeded.users),
    ]
    texts = [
        *(f"{name} was not created: {note}" for name, outcome, note in parts if outcome is Outcome.FAILED),
        *(
            f"{name} exists with other values and was not changed: {note}"
            for name, outcome, note in parts
            if outcome is Outcome.DIFFERS
        ),
    ]
    more = len(texts) - _MOST_NAMED
    return [*texts[:_MOST_NAMED], *([f"and {more} more: the result names them"] if more > 0 else [])]


def seeded_cell(seeded: Seeded) -> str:
    """Return how many users ended in each way."""
    counts = {outcome: seeded.count(outcome) for outcome in Outcome}
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count) or "nothing"


_COUNTS: dict[str, Callable[[Seeded], int]] = {
    "created": lambda s: s.count(Outcome.CREATED),
    "taken_back": lambda s: s.count(Outcome.TAKEN_BACK),
    "completed": lambda s: s.count(Outcome.COMPLETED),
    "existing": lambda s: s.count(Outcome.EXISTING),
    "differing": lambda s: s.count(Outcome.DIFFERS),
    "failed": lambda s: s.count(Outcome.FAILED),
}
_FIELDS = (*_COUNTS, "organizations", "users")


def _note(part: SeededOrganization | SeededUser) -> str | None:
    return part.note or None


_PARTS = {
    SeededOrganization: shape(SeededOrganization, computed={"note": _note}),
    SeededUser: shape(SeededUser, computed={"note": _note}),
}
SEEDED_PARTS = {**_PARTS, Seeded: shape(Seeded, paths=_FIELDS, computed=_COUNTS, encoders=_PARTS)}
"""The outcome as a part of a result that has the database itself."""
SEEDED = View(
    Seeded,
    paths=("host", "database", "environment", *_FIELDS),
    computed=_COUNTS,
    encoders=_PARTS,
    identifier=_ids,
    cells={
        "organizations": lambda organizations: ";".join(f"{o.slug}:{o.outcome}" for o in organizations),
        "users": lambda users: ";".join(f"{u.email}:{u.outcome}" for u in users),
    },
    lines={"organizations": _organization_lines, "users": _user_lines},
)
