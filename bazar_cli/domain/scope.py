"""The row rules: where an operator may write (design section 2), checked inside the transaction.

Each rule returns nothing when it allows, and raises Denied with the reason when it does not.
"""

from __future__ import annotations

from uuid import UUID

from bazar_cli.domain.access import Grant, Role
from bazar_cli.domain.errors import Denied
from bazar_cli.domain.users import User


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
    if own is Role.OWNER or (own is Role.ADMIN and role.rank < own.rank):
        return
    held = f"your role is {own}" if own else "you are no member"
    raise Denied(
        "access.role",
        f"you cannot make someone {role} of {slug}: {held}",
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
