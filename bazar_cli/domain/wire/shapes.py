"""Where the JSON of the API differs from the dataclasses: the only place that says so.

The names are those of the command line's JSON. An answer also has the fields that only texts need, so that a client
gets the whole result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

_NOTHING: Mapping[str, Any] = MappingProxyType({})
AGREED = "agreed"
"""The field of a request for an impact that was agreed to. It is the header Bazar-Consent, never a part of the JSON."""
CONFIRM = "confirm"
"""The field of a request for a word, or an impact that was agreed to. Only the word is a part of the JSON."""
VERSION = "version"
"""The field of a request for the version that it changes. It is the header If-Match, never a part of the JSON."""


@dataclass(frozen=True)
class Shape:
    """How the JSON of one dataclass differs from its fields.

    Parameters: `flat` fields hold a dataclass whose fields stand in their place; `renamed` maps a field, or the path
    to a field of a flat one, to its name; `computed` are names that are only written, some in place of a field;
    `else_from` maps a name to the one that is read where its value is null; `emptied` fields are the empty text where
    JSON has null.
    """

    flat: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    computed: Mapping[str, Callable[[Any], object]] = field(default_factory=lambda: _NOTHING)
    else_from: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    emptied: frozenset[str] = frozenset()


_USER = Shape(flat=("user",))
SHAPES: Mapping[str, Shape] = {
    "AdoptedUser": _USER,
    "AssignedPlan": Shape(
        flat=("user",), renamed={"previous": "previous_plan"}, computed={"changed": lambda a: a.changed}
    ),
    "ChangedUser": _USER,
    "CreatedOrganization": Shape(
        flat=("organization",),
        computed={
            "id": lambda c: None if c.id_is_provisional else c.organization.id,
            "provisional_id": lambda c: c.organization.id if c.id_is_provisional else None,
        },
        else_from={"id": "provisional_id"},
    ),
    "CreatedUser": Shape(
        flat=("user",),
        computed={
            "id": lambda c: None if c.id_is_provisional else c.user.id,
            "provisional_id": lambda c: c.user.id if c.id_is_provisional else None,
        },
        else_from={"id": "provisional_id"},
    ),
    "CreateUser": Shape(flat=("password",)),
    "Dissolution": Shape(flat=("organization",)),
    "EditedPlan": Shape(flat=("plan",)),
    "Explanation": Shape(flat=("verdict",), renamed={"verdict.reason": "decision"}),
    "ListEvents": Shape(flat=("filters",)),
    "LoggedOut": Shape(renamed={"at_supabase": "ended_at_supabase"}),
    "MemberChange": Shape(computed={"changed": lambda c: c.changed}),
    "Membership": Shape(renamed={"organization_id": "id"}),
    "NewPassword": Shape(
        renamed={"plain": "password", "bcrypt_hash": "password_hash", "generate": "generate_password"}
    ),
    "PasswordReset": Shape(flat=("user",), computed={"user_id": lambda r: r.user.id}),
    "PlanDetails": Shape(computed={"permission_count": lambda p: len(p.permissions)}),
    "RestoredUser": _USER,
    "RevokedSessions": Shape(renamed={"ended": "sessions_ended"}),
    "StartedSession": Shape(flat=("session",)),
    "Step": Shape(renamed={"name": "step"}),
    "SuspendedUser": _USER,
    "UpdatedOrganization": Shape(flat=("organization",)),
    "UpdateUser": Shape(emptied=frozenset({"name"})),
    "Verification": Shape(renamed={"findings": "broken"}, computed={"whole": lambda v: v.whole}),
}
"""By the name of the dataclass, so that reading this needs none of them."""
_PLAIN = Shape()


def shape_of(kind: type[Any]) -> Shape:
    """Return how the JSON of a dataclass differs from its fields."""
    return SHAPES.get(kind.__name__, _PLAIN)


def named(shape: Shape, name: str) -> str:
    """Return the name of a field in JSON."""
    return shape.renamed.get(name, name)


def inside(shape: Shape, part: str) -> Mapping[str, str]:
    """Return the names of fields of a flat part, where the shape around it renames them."""
    start = f"{part}."
    return {path[len(start) :]: name for path, name in shape.renamed.items() if path.startswith(start)}
