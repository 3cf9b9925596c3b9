"""Every step from a user to a decision, and what would change it, for `plans check` and `plans explain`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias
from uuid import UUID

from bazar_cli.domain.authz.permissions import WHO_CHANGES_PLANS, Permission
from bazar_cli.domain.authz.row_rules import ROLE_NEEDED
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.entities import Pending, Plan, Role, User, UserState

if TYPE_CHECKING:
    from bazar_cli.domain.entities import Organization, User


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


@dataclass(frozen=True)
class Step:
    """One thing that decides whether a user may; all must be so."""

    name: str
    value: str | None
    ok: bool
    why: str


@dataclass(frozen=True)
class Explanation:
    """A verdict, every step that led to it, and what would change it."""

    verdict: Verdict
    steps: tuple[Step, ...]
    changes: tuple[str, ...]
    """Commands, each with who may run it; or sentences where no command helps."""


_PLATFORM = frozenset(
    {
        Permission.PLANS_ASSIGN,
        Permission.PLANS_MANAGE,
        Permission.DB_READ,
        Permission.DB_MIGRATE,
        Permission.DB_RESET,
    }
)
"""Permissions that a plan alone does not give: they are a superuser's (docs/permissions.md, rule 8)."""


_ABOVE = "they have a higher role than the user's in all of the user's organizations"


_WHERE = {Permission.USERS_UPDATE: _ABOVE, Permission.USERS_DELETE: _ABOVE}
"""What the row rules ask for beyond the role in one organization."""


_TARGETS = {
    Permission.USERS_READ: "oneself, and users who share an organization",
    Permission.USERS_CREATE: "an admin creates in their own organizations, without one a superuser",
    Permission.USERS_UPDATE: f"oneself, and others where {_ABOVE}",
    Permission.USERS_DELETE: f"others where {_ABOVE}",
    Permission.ORGS_READ: "their own organizations",
    Permission.ORGS_UPDATE: "organizations where they are admin or owner",
    Permission.ORGS_DELETE: "organizations where they are owner",
    Permission.MEMBERS_READ: "their own organizations",
    Permission.MEMBERS_MANAGE: "members below their own role, where they are admin or owner",
    Permission.AUDIT_READ: "events of what they can see",
}
"""Where rows decide when no organization is named (docs/permissions.md, rule 1 to 5)."""


def verdict(
    user: User,
    organization: Organization | None,
    permission: Permission,
    plans: Mapping[Plan, frozenset[Permission]],
) -> Verdict:
    """Say whether `user` may use `permission`, in `organization` where one is given, and the first reason."""
    return explanation(user, organization, permission, plans).verdict


def explanation(
    user: User,
    organization: Organization | None,
    permission: Permission,
    plans: Mapping[Plan, frozenset[Permission]],
) -> Explanation:
    """Say so with every step, in the order in which the gate and the row rules decide, and what would change it.

    All steps are gone, also those after a no: each of them must be a yes. Nothing is said of organizations
    that `user` does not show, which are those out of the operator's reach.
    """
    having = [p for p in Plan if permission in plans.get(p, frozenset())]
    judged = (
        (Step("user", user.email, ok=True, why="a superuser" if user.is_superuser else "no superuser"), ()),
        _by_state(user),
        _by_plan(user, permission, having),
        _by_platform(user, permission),
        *_by_organization(user, organization, permission),
    )
    no = next((step for step, _ in judged if not step.ok), None)
    found = Verdict(
        permission=permission,
        user_id=user.id,
        email=user.email,
        plan=user.plan,
        organization=organization.slug if organization else None,
        allowed=no is None,
        reason=no.why if no else _yes(user, organization, permission),
    )
    changes = tuple(change for step, would in judged if not step.ok for change in would)
    return Explanation(found, tuple(step for step, _ in judged), changes)


_Judged: TypeAlias = "tuple[Step, tuple[str, ...]]"
"""A step, and what would make a yes of its no."""


def _by_state(user: User) -> _Judged:
    if user.state is not UserState.ACTIVE:
        restore = f"`{command_line('users restore', user.email)}` ({_who_restores(user)})"
        return Step("state", user.state.value, ok=False, why=f"{user.email} is suspended"), (restore,)
    if user.pending is Pending.DELETE:
        why = f"{user.email} is being deleted"
        restore = (
            f"`{command_line('users restore', user.email)}` ({_who_restores(user)}; while Supabase has the identity)"
        )
        return Step("state", "being deleted", ok=False, why=why), (restore,)
    return Step("state", user.state.value, ok=True, why="in service"), ()


def _who_restores(user: User) -> str:
    """Who may write `user`: without one above them, as of an owner or in no organization, only a superuser may."""
    above = user.organizations and all(m.role.rank < Role.OWNER.rank for m in user.organizations)
    others = ", or who has a higher role in all of their organizations" if above and not user.is_superuser else ""
    return f"a superuser{others}, on a plan with users:update"


def _by_plan(user: User, permission: Permission, having: list[Plan]) -> _Judged:
    plan, name = user.plan.value, user.plan.value.capitalize()
    if user.plan in having:
        return Step("plan", plan, ok=True, why=f"the plan {name} has {permission}"), ()
    where = f"{' or '.join(p.value.capitalize() for p in having)} has it" if having else "no plan has it"
    moves = [f"`{command_line('plans assign', user.email, having[0])}` ({WHO_CHANGES_PLANS})"] if having else []
    edit = f"`bazar plans grant {plan} {permission}` ({WHO_CHANGES_PLANS}; for everybody on {name})"
    why = f"the plan {name} does not have {permission}; {where}"
    return Step("plan", plan, ok=False, why=why), (*moves, f"or {edit}" if moves else edit)


def _by_platform(user: User, permission: Permission) -> _Judged:
    value = "yes" if user.is_superuser else "no"
    if user.is_superuser:
        return Step("superuser", value, ok=True, why="a superuser may use it everywhere"), ()
    if permission not in _PLATFORM:
        return Step("superuser", value, ok=True, why=f"{permission} is not for superusers only"), ()
    promote = f"`{command_line('users promote', user.email, confirm=user.email)}` ({WHO_CHANGES_PLANS})"
    return Step("superuser", value, ok=False, why=f"only superusers may use it: {permission}"), (promote,)


def _by_organization(user: User, organization: Organization | None, permission: Permission) -> tuple[_Judged, ...]:
    """The steps of organization and role, where they count."""
    needed = ROLE_NEEDED.get(permission, Role.MEMBER)
    if user.is_superuser or permission in _PLATFORM:
        slug = organization.slug if organization else None
        why = "superusers need no membership" if user.is_superuser else "no organization counts for it"
        return (
            (Step("organization", slug, ok=True, why=why), ()),
            (Step("role", None, ok=True, why="no role counts"), ()),
        )
    if organization is None:
        decides = _TARGETS.get(permission)
        why = "none was named: it counts for the permission in one, with --org"
        role = f"the target decides: {decides}" if decides else "no role is asked for"
        return (
            (Step("organization", None, ok=True, why=why), ()),
            (Step("role", None, ok=True, why=role), ()),
        )
    slug, above = organization.slug, "an admin or owner" if needed is Role.MEMBER else "an owner"
    plan = "on a plan with members:manage"
    membership = next((m for m in user.organizations if m.organization_id == organization.id), None)
    if membership is None:
        # Who shares no organization with the user does not find them.
        finds = f"{above} of {slug} who shares an organization with them, or " if user.organizations else ""
        command = command_line("orgs members add", slug, user.email, role=needed)
        add = f"`{command}` ({finds}a superuser, {plan})"
        outside = Step("organization", slug, ok=False, why=f"{user.email} is no member of {slug}")
        return (outside, (add,)), (Step("role", None, ok=False, why=f"it needs the role {needed} or higher"), ())
    inside = Step("organization", slug, ok=True, why=f"a member of {slug}"), ()
    held = membership.role
    if held.rank < needed.rank:
        why = f"{permission} in {slug} needs the role {needed}, not {held}"
        who = f"{above} of {slug}, or a superuser, {plan}"
        update = f"`{command_line('orgs members update', slug, user.email, role=needed)}` ({who})"
        return inside, (Step("role", held.value, ok=False, why=why), (update,))
    why = f"{held} of {slug} may use it" + (f" where {_WHERE[permission]}" if permission in _WHERE else "")
    return inside, (Step("role", held.value, ok=True, why=why), ())


def _yes(user: User, organization: Organization | None, permission: Permission) -> str:
    has = f"the plan {user.plan.value.capitalize()} has {permission}"
    if user.is_superuser:
        return f"{has}, and a superuser may use it everywhere"
    if organization is None:
        return has
    role = next(m.role for m in user.organizations if m.organization_id == organization.id)
    return f"{has}, and {role} of {organization.slug} may use it"
