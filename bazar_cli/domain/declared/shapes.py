"""The fields of a state file, from which both the reader and the JSON Schema are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, TypeAlias

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.entities import Plan, Role, UserState
from bazar_cli.domain.orgs.organizations import SLUG_MAX, checked_org_name, checked_slug
from bazar_cli.domain.users.values import EMAIL_MAX, checked_name, normalized_email

USERS_MAX = 100_000
"""The most users of a file."""
FILE_BYTES = 32 * 1024 * 1024
"""Enough for `USERS_MAX` users."""


@dataclass(frozen=True)
class Text:
    """A text that `check` returns in its stored form; `check` raises UsageError."""

    check: Callable[[str], str | None]
    about: str
    rules: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Keywords of JSON Schema: conditions that every text fulfils that `check` takes."""


@dataclass(frozen=True)
class Choice:
    """One of the values of an enum."""

    kind: type[Enum]
    about: str

    @cached_property
    def known(self) -> Mapping[str, Enum]:
        """The members of the enum by their values."""
        return {str(choice.value): choice for choice in self.kind}


@dataclass(frozen=True)
class Items:
    """A list of objects or values."""

    of: Shape | Choice
    about: str
    most: int | None = None


@dataclass(frozen=True)
class Shape:
    """An object: its fields by key, and the keys that it must have."""

    fields: Mapping[str, Field]
    needed: tuple[str, ...] = ()


Field: TypeAlias = Text | Choice | Items

_SLUG = Text(
    checked_slug, "the slug of an organization", {"pattern": "^[a-z0-9]+(-[a-z0-9]+)*$", "maxLength": SLUG_MAX}
)
_EMAIL = Text(
    normalized_email, "an address; case does not matter", {"pattern": "^[^@ ]+@[^@ ]+$", "maxLength": EMAIL_MAX}
)
_ROLE = Choice(Role, "the role; a new member without one becomes a member, another member keeps their role")
_ORG_NAME = Text(checked_org_name, "the name; a new organization needs one", {"minLength": 1})
_USER = Shape(
    {
        "email": _EMAIL,
        "name": Text(checked_name, "the name to show; null removes it"),
        "plan": Choice(Plan, "the plan; a new user without one is on free"),
        "organizations": Items(
            Shape({"slug": _SLUG, "role": _ROLE}, ("slug",)), "memberships in organizations of this file"
        ),
        "state": Choice(UserState, "whether the user may sign in; a new user without one is active"),
    },
    ("email",),
)
_USERS = Items(_USER, "users, each once; a user who does not exist is created", USERS_MAX)
STATE_FILE = Shape(
    {
        "organizations": Items(
            Shape(
                {
                    "slug": _SLUG,
                    "name": _ORG_NAME,
                    "members": Items(
                        Shape({"email": _EMAIL, "role": _ROLE}, ("email",)),
                        "members, who are users already or are named under users",
                        USERS_MAX,
                    ),
                },
                ("slug",),
            ),
            "organizations, each once; one that does not exist is created",
        ),
        "users": _USERS,
        "plans": Items(
            Shape(
                {
                    "plan": Choice(Plan, "the plan"),
                    "permissions": Items(Choice(Permission, "a permission"), "all permissions of the plan"),
                },
                ("plan",),
            ),
            "plans with what each allows",
        ),
    }
)
"""The file of `diff` and `apply`."""
SEED_FILE = Shape(
    {
        "organizations": Items(Shape({"slug": _SLUG, "name": _ORG_NAME}, ("slug", "name")), "organizations"),
        "users": _USERS,
    }
)
"""The file of `db seed`: every organization has a name, and members are named by the users alone."""
