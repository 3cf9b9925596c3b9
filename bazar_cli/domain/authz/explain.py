"""Every step from a user to a decision, and what would change it, for `plans check` and `plans explain`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias
from uuid import UUID

from bazar_cli.domain.authz.permissions import WHO_CHANGES_PLANS, Permission, plans_that_only_add
from bazar_cli.domain.authz.row_rules import ROLE_NEEDED
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.entities import Pending, Plan, Role, User, UserState

if TYPE_CHECKING:
    from bazar_cli.domain.entities import Organization, User


@dataclass(frozen=True)
class Verdict:
    """Whether a user may use a permission, and the reason in one sentence."""

    permission: Permission
    user_id: UUID
    email: str
    plan: Plan
    organization: str | None
    allowed: bool
    reason: str


@dataclass(frozen=True)
class Step:
    """One condition for a permission; all of them must hold."""

    name: str
    value: str | None
    ok: bool
    why: str


@dataclass(frozen=True)
class Explanation:
    """A verdict, all conditions, and what would change it."""

    verdict: Verdict
    steps: tuple[Step, ...]
    changes: tuple[str, ...]
    """Commands with the users who may run them, or sentences where no command helps."""


_PLATFORM = frozenset(
    {
        Permission.PLANS_ASSIGN,
        Permission.PLANS_MANAGE,
        Permission.DB_READ,
        Permission.DB_MIGRATE,
        Permission.DB_RESET,
    }
)
"""Permissions that need a superuser on every plan (docs/permissions.md, rule 8)."""


_ABOVE = "they have a higher role than the user's in all of the user's organizations"


_WHERE = {Permission.USERS_UPDATE: _ABOVE, Permission.USERS_DELETE: _ABOVE}
"""Requirements of the row rules besides the role in one organization."""


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
"""Which rows a permission covers when no organization is named (docs/permissions.md, rules 1 to 5)."""


def verdict(
    user: User,
    organization: Organization | None,
    permission: Permission,
    plans: Mapping[Plan, frozenset[Permission]],
) -> Verdict:
    """Say whether `user` may use `permission`, in `organization` if one is given, and the first reason."""
    return explanation(user, organization, permission, plans).verdict


def explanation(
    user: User,
    organization: Organization | None,
    permission: Permission,
    plans: Mapping[Plan, frozenset[Permission]],
) -> Explanation:
    """Explain the verdict with every condition, in the order in which the gate and the row rules check them.

    Conditions after the first one that fails are checked too. `user` holds only organizations that the operator can
    see, and no other is mentioned.
    """
    having = [p for p in Plan if permission in plans.get(p, frozenset())]
    judged = (
        (Step("user", user.email, ok=True, why="a superuser" if user.is_superuser else "not a superuser"), ()),
        _by_state(user),
        _by_plan(user, permission, having, plans_that_only_add(user.plan, [permission], plans)),
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
    changes = tuple(change for _, would in judged for change in would)
    return Explanation(found, tuple(step for step, _ in judged), changes)


_Judged: TypeAlias = "tuple[Step, tuple[str, ...]]"
"""A condition, and what would make it hold."""


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
    return Step("state", user.state.value, ok=True, why="active"), ()


def _who_restores(user: User) -> str:
    """Say who may restore `user`; for an owner or a user without organization that is only a superuser."""
    above = user.organizations and all(m.role.rank < Role.OWNER.rank for m in user.organizations)
    others = ", or a user with a higher role in all of their organizations" if above and not user.is_superuser else ""
    return f"a superuser{others}, on a plan with users:update"


def _by_plan(user: User, permission: Permission, having: list[Plan], higher: list[Plan]) -> _Judged:
    plan, name = user.plan.value, user.plan.value.capitalize()
    if user.plan in having:
        return Step("plan", plan, ok=True, why=f"the plan {name} has {permission}"), ()
    where = f"{' or '.join(p.value.capitalize() for p in having)} has it" if having else "no plan has it"
    moves = [f"`{command_line('plans assign', user.email, higher[0])}` ({WHO_CHANGES_PLANS})"] if higher else []
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
    """Return the conditions on organization and role."""
    needed = ROLE_NEEDED.get(permission, Role.MEMBER)
    if user.is_superuser or permission in _PLATFORM:
        slug = organization.slug if organization else None
        why = "superusers need no membership" if user.is_superuser else "it does not depend on an organization"
        return (
            (Step("organization", slug, ok=True, why=why), ()),
            (Step("role", None, ok=True, why="it does not depend on a role"), ()),
        )
    if organization is None:
        decides = _TARGETS.get(permission)
        why = "none was named; --org asks about one"
        about = f"the target decides: {decides}" if decides else "it needs no role"
        return (
            (Step("organization", None, ok=True, why=why), ()),
            (Step("role", None, ok=True, why=about), ()),
        )
    slug, above = organization.slug, "an admin or owner" if needed is Role.MEMBER else "an owner"
    plan = "on a plan with members:manage"
    membership = next((m for m in user.organizations if m.organization_id == organization.id), None)
    if membership is None:
        # Operators who share no organization with the user cannot see them.
        finds = f"{above} of {slug} who shares an organization with them, or " if user.organizations else ""
        command = command_line("orgs members add", slug, user.email, role=needed)
        add = f"`{command}` ({finds}a superuser, {plan})"
        outside = Step("organization", slug, ok=False, why=f"{user.email} is not a member of {slug}")
        return (outside, (add,)), (Step("role", None, ok=False, why=f"it needs the role {needed} or higher"), ())
    inside = Step("organization", slug, ok=True, why=f"a member of {slug}"), ()
    role = membership.role
    if role.rank < needed.rank:
        why = f"{permission} in {slug} needs the role {needed}, not {role}"
        who = f"{above} of {slug}, or a superuser, {plan}"
        update = f"`{command_line('orgs members update', slug, user.email, role=needed)}` ({who})"
        return inside, (Step("role", role.value, ok=False, why=why), (update,))
    why = f"{role} of {slug} may use it" + (f" where {_WHERE[permission]}" if permission in _WHERE else "")
    return inside, (Step("role", role.value, ok=True, why=why), ())


def _yes(user: User, organization: Organization | None, permission: Permission) -> str:
    has = f"the plan {user.plan.value.capitalize()} has {permission}"
    if user.is_superuser:
        return f"{has}, and a superuser may use it everywhere"
    if organization is None:
        return has
    role = next(m.role for m in user.organizations if m.organization_id == organization.id)
    return f"{has}, and {role} of {organization.slug} may use it"
