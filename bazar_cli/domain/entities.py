"""Users and organizations, with plan, role, state and pending change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from bazar_cli.domain.text_enum import TextEnum


class Plan(TextEnum):
    """The plans of Bazar, in ascending order."""

    FREE = "free"
    PLUS = "plus"
    PREMIUM = "premium"


class Role(TextEnum):
    """A member's role in an organization."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"

    @property
    def rank(self) -> int:
        """A higher role has a higher rank: owner 3, admin 2, member 1."""
        return _RANKS[self]


_RANKS = {Role.OWNER: 3, Role.ADMIN: 2, Role.MEMBER: 1}


class UserState(TextEnum):
    """The intended state of a user (docs/architecture.md)."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


class Pending(TextEnum):
    """A change that Supabase has not confirmed yet."""

    CREATE = "create"
    DELETE = "delete"
    SUSPEND = "suspend"
    RESTORE = "restore"
    EMAIL = "email"
    INVITE = "invite"


BEING_CREATED_OR_DELETED = frozenset({Pending.CREATE, Pending.INVITE, Pending.DELETE})
"""Users whose plan and roles must not change: the command that finishes the creation or deletion relies on them."""


@dataclass(frozen=True)
class Membership:
    """A user's membership of an organization."""

    organization_id: UUID
    slug: str
    role: Role


class Standing:
    """Plan, state and superuser flag, which `User` and the gate's `Operator` share."""

    plan: Plan
    state: UserState
    pending: Pending | None
    is_superuser: bool

    @property
    def is_active(self) -> bool:
        """Whether the user may do anything at all: neither suspended nor being deleted."""
        return self.state is UserState.ACTIVE and self.pending is not Pending.DELETE

    @property
    def is_active_superuser(self) -> bool:
        """Whether the user is an active superuser on Premium, of whom a system always keeps one."""
        return self.is_superuser and self.plan is Plan.PREMIUM and self.is_active


@dataclass(frozen=True)
class User(Standing):
    """A user as bazar shows them."""

    id: UUID
    email: str
    name: str | None
    plan: Plan
    state: UserState
    pending: Pending | None
    is_superuser: bool
    organizations: tuple[Membership, ...]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class Organization:
    """An organization as bazar shows it; `members` counts its memberships."""

    id: UUID
    slug: str
    name: str
    members: int
    created_at: datetime
    updated_at: datetime
