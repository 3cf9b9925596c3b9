"""The row rules: where an operator may write (design section 2), checked inside the transaction.

Each rule returns nothing when it allows, and raises Denied with the reason when it does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from uuid import UUID

from bazar_cli.domain.access import Grant, Pending, Role, UserState
from bazar_cli.domain.errors import Denied
from bazar_cli.domain.permissions import Permission, Plan

if TYPE_CHECKING:
    from bazar_cli.domain.orgs import Organization
    from bazar_cli.domain.plans import Verdict
    from bazar_cli.domain.users import User

_PLATFORM = frozenset(
    {
        Permission.PLANS_ASSIGN,
        Permission.PLANS_MANAGE,
        Permission.DB_READ,
        Permission.DB_MIGRATE,
        Permission.DB_RESET,
    }
)
"""Permissions that a plan alone does not give: they are a superuser's (design section 2, rule 8)."""

_ROLE_NEEDED = {
    Permission.USERS_CREATE: Role.ADMIN,
    Permission.USERS_UPDATE: Role.ADMIN,
    Permission.USERS_DELETE: Role.ADMIN,
    Permission.MEMBERS_MANAGE: Role.ADMIN,
    Permission.ORGS_UPDATE: Role.ADMIN,
    Permission.ORGS_DELETE: Role.OWNER,
}
"""The least role in an organization that a permission needs there; a member's is enough for the others."""


def may_create_user(grant: Grant, organization_id: UUID | None, slug: str | None, role: Role) -> None:
    """Allow a new user in an organization that the operator administers; without one, to superusers.

    Raises: Denied `access.platform`, `access.role`.
    """
    if grant.operator.is_superuser:
        return
    if organization_id is None:
        raise Denied(
            "access.platform",
            "only a superuser creates users without an organization",
            hint="add --org with an organization that you administer",
        )
    may_give_role(grant, organization_id, slug or str(organization_id), role)


def may_give_role(grant: Grant, organization_id: UUID, slug: str, role: Role) -> None:
    """Allow to give `role`: admins below their own role, owners up to owner, superusers anywhere.

    Raises: Denied `access.role`.
    """
    if grant.operator.is_superuser:
        return
    own = grant.operator.role_in(organization_id)
    if not _manages(own, role):
        raise _role_too_low(own, slug, f"make someone {role} of {slug}", role)


def may_change_member(grant: Grant, user_id: UUID, organization: Organization, current: Role, wanted: Role) -> None:
    """Allow to give a member another role: admins below their own, owners any; oneself may step down.

    Raises: Denied `access.role`.
    """
    if grant.operator.is_superuser or (grant.operator.id == user_id and wanted.rank <= current.rank):
        return
    own = grant.operator.role_in(organization.id)
    if not _manages(own, current):
        raise _role_too_low(own, organization.slug, f"change the role of the {current} of {organization.slug}", current)
    may_give_role(grant, organization.id, organization.slug, wanted)


def may_remove_member(grant: Grant, user_id: UUID, organization: Organization, current: Role) -> None:
    """Allow to end a membership: admins below their own role, owners any; anybody may leave.

    Raises: Denied `access.role`.
    """
    if grant.operator.is_superuser or grant.operator.id == user_id:
        return
    own = grant.operator.role_in(organization.id)
    if not _manages(own, current):
        raise _role_too_low(own, organization.slug, f"remove the {current} from {organization.slug}", current)


def may_write_organization(grant: Grant, organization: Organization, permission: Permission) -> None:
    """Allow to change an organization to its admins and owners, to delete it to its owners; both to superusers.

    Raises: Denied `access.role`.
    """
    if grant.operator.is_superuser:
        return
    own, needed = grant.operator.role_in(organization.id), _ROLE_NEEDED[permission]
    if own is None or own.rank < needed.rank:
        verb = "delete" if permission is Permission.ORGS_DELETE else "change"
        raise _role_too_low(own, organization.slug, f"{verb} {organization.slug}", needed)


def _manages(own: Role | None, role: Role) -> bool:
    """Whether somebody with the role `own` gives and takes `role`."""
    return own is Role.OWNER or (own is Role.ADMIN and role.rank < own.rank)


def _role_too_low(own: Role | None, slug: str, what: str, role: Role) -> Denied:
    held = f"your role is {own}" if own else "you are no member"
    return Denied(
        "access.role",
        f"you cannot {what}: {held}",
        hint=f"ask an owner of {slug}",
        details={"organization": slug, "role": role.value, "own_role": own.value if own else None},
    )


def may_write_user(grant: Grant, target: User) -> None:
    """Allow to change `target`: oneself, a superuser, or an admin above them in all their organizations.

    Deleting or suspending oneself is refused by `not_oneself`, not here.
    Raises: Denied `access.platform`, `access.role`.
    """
    operator = grant.operator
    if operator.is_superuser or operator.id == target.id:
        return
    if target.is_superuser:
        raise Denied(
            "access.platform",
            f"{target.email} is a superuser; only superusers change superusers",
            hint="ask a superuser to run it",
        )
    if not target.organizations:
        raise Denied(
            "access.platform",
            f"{target.email} belongs to no organization; only a superuser changes them",
            hint="ask a superuser to run it",
        )
    for membership in target.organizations:
        own = operator.role_in(membership.organization_id)
        if own is None or own.rank < Role.ADMIN.rank or own.rank <= membership.role.rank:
            raise Denied(
                "access.role",
                f"to change {target.email} you need a higher role than theirs in all of their organizations",
                hint="ask an owner of their organizations, or a superuser",
                details={"user_id": str(target.id)},
            )


def not_oneself(grant: Grant, target: User, action: str) -> None:
    """Refuse to suspend or delete oneself.

    Raises: Denied `access.oneself`.
    """
    if grant.operator.id == target.id:
        raise Denied(
            "access.oneself",
            f"nobody can {action} themselves",
            hint="ask another administrator to run it",
        )


def owner_of_new_organization(grant: Grant) -> UUID:
    """Who owns an organization that is created without naming an owner: the operator."""
    return grant.operator.id


def verdict(
    user: User,
    organization: Organization | None,
    permission: Permission,
    plans: Mapping[Plan, frozenset[Permission]],
) -> Verdict:
    """Say whether `user` may use `permission`, in `organization` where one is given, and the first reason.

    The order is the gate's: state, plan, then scope.
    """
    allowed, reason = _reasoned(user, organization, permission, plans)
    from bazar_cli.domain.plans import Verdict

    return Verdict(
        permission=permission,
        user_id=user.id,
        email=user.email,
        plan=user.plan,
        organization=organization.slug if organization else None,
        allowed=allowed,
        reason=reason,
    )


def _reasoned(
    user: User,
    organization: Organization | None,
    permission: Permission,
    plans: Mapping[Plan, frozenset[Permission]],
) -> tuple[bool, str]:
    if user.state is not UserState.ACTIVE:
        return False, f"{user.email} is suspended"
    if user.pending is Pending.DELETE:
        return False, f"{user.email} is being deleted"
    plan = user.plan.value.capitalize()
    if permission not in plans.get(user.plan, frozenset()):
        having = [p.value.capitalize() for p in Plan if permission in plans.get(p, frozenset())]
        where = f"{' or '.join(having)} has it" if having else "no plan has it"
        return False, f"the plan {plan} does not have {permission}; {where}"
    if user.is_superuser:
        return True, f"the plan {plan} has {permission}, and a superuser may use it everywhere"
    if permission in _PLATFORM:
        return False, f"the plan {plan} has {permission}, but only superusers may use it"
    if organization is None:
        return True, f"the plan {plan} has {permission}"
    membership = next((m for m in user.organizations if m.organization_id == organization.id), None)
    if membership is None:
        return False, f"{user.email} is no member of {organization.slug}"
    needed = _ROLE_NEEDED.get(permission, Role.MEMBER)
    if membership.role.rank < needed.rank:
        return False, f"{permission} in {organization.slug} needs the role {needed}, not {membership.role}"
    return True, f"the plan {plan} has {permission}, and {membership.role} of {organization.slug} may use it"
