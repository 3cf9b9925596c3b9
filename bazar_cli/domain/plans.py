"""Plans and the permission table: entities, requests and use-case specs."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from bazar_cli.domain.access import Scope, requires
from bazar_cli.domain.permissions import Permission, Plan

LIST = requires("plans.list", Permission.PLANS_READ, scope=Scope.NONE)
SHOW = requires("plans.show", Permission.PLANS_READ, scope=Scope.NONE)
MATRIX = requires("plans.matrix", Permission.PLANS_READ, scope=Scope.NONE)
CHECK = requires("plans.check", Permission.PLANS_READ, scope=Scope.REACH)


@dataclass(frozen=True)
class PlanDetails:
    """A plan and what it allows."""

    name: Plan
    title: str
    permissions: tuple[Permission, ...]


@dataclass(frozen=True)
class MatrixRow:
    """One permission and which plans have it."""

    permission: Permission
    free: bool
    plus: bool
    premium: bool


@dataclass(frozen=True)
class ShowPlan:
    """What `plans show` was asked."""

    plan: Plan


@dataclass(frozen=True)
class CheckPermission:
    """What `plans check` was asked; without a user the operator is meant."""

    permission: Permission
    user: str | None = None
    organization: str | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether a user may, and the reason in one sentence."""

    permission: Permission
    user_id: UUID
    email: str
    plan: Plan
    organization: str | None
    allowed: bool
    reason: str
