"""What became of demo data."""

from __future__ import annotations

from bazar_cli.domain.demo.seed import Outcome, Seeded, SeededOrganization, SeededUser
from bazar_cli.terminal.views.base import Value, View

_NAMED = 20
"""So many users are named in a table or by warnings; the machine formats have all of them."""


def _organization(organization: SeededOrganization) -> dict[str, Value]:
    return {
        "slug": organization.slug,
        "name": organization.name,
        "outcome": organization.outcome.value,
        "note": organization.note or None,
    }


def _user(user: SeededUser) -> dict[str, Value]:
    return {
        "id": None if user.id is None else str(user.id),
        "email": user.email,
        "outcome": user.outcome.value,
        "note": user.note or None,
    }


def _line(name: str, outcome: Outcome, note: str) -> str:
    return f"{name}: {outcome}{f' ({note})' if note else ''}"


def _organization_lines(seeded: Seeded) -> tuple[str, ...]:
    return tuple(_line(o.slug, o.outcome, o.note) for o in seeded.organizations)


def _user_lines(seeded: Seeded) -> tuple[str, ...]:
    """The first users, and after them only those who are not as wanted."""
    told = [
        _line(u.email, u.outcome, u.note)
        for place, u in enumerate(seeded.users)
        if place < _NAMED or u.outcome in {Outcome.DIFFERS, Outcome.FAILED}
    ]
    more = len(seeded.users) - len(told)
    return (*told, *([f"and {more} more"] if more else []))


def _ids(seeded: Seeded) -> str | None:
    return "\n".join(str(u.id) for u in seeded.users if u.id is not None) or None


def warnings(seeded: Seeded) -> list[str]:
    """What is not as wanted, a text each; of many the first, and that there are more."""
    apart = [
        *((o.slug, o.outcome, o.note) for o in seeded.organizations),
        *((u.email, u.outcome, u.note) for u in seeded.users),
    ]
    told = [
        *(f"{name} was not made: {note}" for name, outcome, note in apart if outcome is Outcome.FAILED),
        *(
            f"{name} is there with other values and left as it is: {note}"
            for name, outcome, note in apart
            if outcome is Outcome.DIFFERS
        ),
    ]
    more = len(told) - _NAMED
    return [*told[:_NAMED], *([f"and {more} more: the result names them"] if more > 0 else [])]


def seeded_fields(seeded: Seeded) -> dict[str, Value]:
    """What became of the demo data, as part of a result that names the database itself."""
    place = ("host", "database", "environment")
    return {name: value(seeded) for name, value in SEEDED.fields.items() if name not in place}


def seeded_cell(seeded: Seeded) -> str:
    """The same as one cell: so many users of each outcome."""
    counts = {outcome.value: seeded.count(outcome) for outcome in Outcome}
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count) or "nothing"


SEEDED: View[Seeded] = View(
    fields={
        "host": lambda s: s.host,
        "database": lambda s: s.database,
        "environment": lambda s: s.environment,
        "created": lambda s: s.count(Outcome.CREATED),
        "taken_back": lambda s: s.count(Outcome.TAKEN_BACK),
        "completed": lambda s: s.count(Outcome.COMPLETED),
        "existing": lambda s: s.count(Outcome.EXISTING),
        "differing": lambda s: s.count(Outcome.DIFFERS),
        "failed": lambda s: s.count(Outcome.FAILED),
        "organizations": lambda s: [_organization(o) for o in s.organizations],
        "users": lambda s: [_user(u) for u in s.users],
    },
    identifier=_ids,
    cells={
        "organizations": lambda s: ";".join(f"{o.slug}:{o.outcome}" for o in s.organizations),
        "users": lambda s: ";".join(f"{u.email}:{u.outcome}" for u in s.users),
    },
    lines={"organizations": _organization_lines, "users": _user_lines},
)
