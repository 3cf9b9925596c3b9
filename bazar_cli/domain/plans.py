"""Plans and the permission table: entities, requests and use-case specs."""

from __future__ import annotations

from dataclasses import dataclass

from bazar_cli.domain.authz.explain import Explanation, Verdict
from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Scope, requires
from bazar_cli.domain.consent import Impact
from bazar_cli.domain.entities import Plan, User
from bazar_cli.domain.route import Answer, Route


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
    """The request of `plans show`."""

    plan: Plan


@dataclass(frozen=True)
class CheckPermission:
    """The request of `plans check` and `plans explain`; without a user it is about the operator."""

    permission: Permission
    user: str | None = None
    organization: str | None = None


@dataclass(frozen=True)
class PlanUsage:
    """How many users that the operator can see are on a plan."""

    plan: str
    title: str
    users: int
    active: int
    suspended: int
    share: float
    """The share of all these users, 0 to 1."""


@dataclass(frozen=True)
class AssignPlan:
    """The request of `plans assign`; `agreed` is the impact that the operator agreed to."""

    user: str
    plan: Plan
    agreed: Impact | None = None


@dataclass(frozen=True)
class AssignedPlan:
    """The user, the plan before, and what the change took and gave."""

    user: User
    previous: Plan
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    impact: Impact | None = None
    """The permissions or rights that the change removes."""

    @property
    def changed(self) -> bool:
        """Whether the user had another plan."""
        return self.previous is not self.user.plan


@dataclass(frozen=True)
class EditPlan:
    """The request of `plans grant` and `plans revoke`; `agreed` is the impact that the operator agreed to."""

    plan: Plan
    permission: Permission
    agreed: Impact | None = None


@dataclass(frozen=True)
class EditedPlan:
    """A plan after an edit, whether that changed it, and how many users are on it."""

    plan: PlanDetails
    permission: Permission
    changed: bool
    active: int
    suspended: int
    impact: Impact | None = None


LIST = requires(
    "plans.list",
    Permission.PLANS_READ,
    scope=Scope.NONE,
    route=Route("GET", "/plans/", None, PlanDetails, Answer.LIST),
)
SHOW = requires(
    "plans.show", Permission.PLANS_READ, scope=Scope.NONE, route=Route("GET", "/plans/{plan}", ShowPlan, PlanDetails)
)
MATRIX = requires(
    "plans.matrix",
    Permission.PLANS_READ,
    scope=Scope.NONE,
    route=Route("GET", "/plans/matrix", None, MatrixRow, Answer.LIST),
)
CHECK = requires(
    "plans.check",
    Permission.PLANS_READ,
    scope=Scope.REACH,
    route=Route("GET", "/plans/check", CheckPermission, Verdict),
)
EXPLAIN = requires(
    "plans.explain",
    Permission.PLANS_READ,
    scope=Scope.REACH,
    route=Route("GET", "/plans/explain", CheckPermission, Explanation),
)
USAGE = requires(
    "plans.usage",
    Permission.PLANS_READ,
    scope=Scope.REACH,
    route=Route("GET", "/plans/usage", None, PlanUsage, Answer.LIST),
)
ASSIGN = requires(
    "plans.assign",
    Permission.PLANS_ASSIGN,
    scope=Scope.PLATFORM,
    writes=True,
    route=Route("PUT", "/users/{user}/plan", AssignPlan, AssignedPlan),
)
GRANT = requires(
    "plans.grant",
    Permission.PLANS_MANAGE,
    scope=Scope.PLATFORM,
    writes=True,
    route=Route("PUT", "/plans/{plan}/permissions/{permission}", EditPlan, EditedPlan),
)
REVOKE = requires(
    "plans.revoke",
    Permission.PLANS_MANAGE,
    scope=Scope.PLATFORM,
    writes=True,
    route=Route("DELETE", "/plans/{plan}/permissions/{permission}", EditPlan, EditedPlan),
)
