"""Invariants for every operator: the last active superuser on Premium, the last owner of an organization, and the
permissions of Premium that superusers need (docs/permissions.md).

Each check locks what it counts: the organizations, or one lock for all superusers. So the second of two operators at
the same moment sees what the first one did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bazar_cli.domain.authz.permissions import KEPT_BY_PREMIUM, Permission
from bazar_cli.domain.entities import Plan
from bazar_cli.domain.errors import Conflict

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.domain.entities import Organization, User


def keep_last_superuser(connection: Connection, user: User) -> None:
    """Refuse to suspend, delete, demote or move off Premium the last active superuser on Premium.

    Raises: Conflict `users.last_superuser`.
    """
    from bazar_cli.adapters.postgres import superusers

    if user.is_active_superuser and superusers.count_other_active(connection, user.id) == 0:
        raise last_superuser(user)


def keep_owners(connection: Connection, user: User) -> None:
    """Refuse to suspend or delete the last active owner of an organization.

    Raises: Conflict `users.last_owner`, naming every organization.
    """
    from bazar_cli.adapters.postgres.users import users

    slugs = users.organizations_owned_alone(connection, user.id)
    if slugs:
        raise last_owner(user, slugs)


def keep_owner(connection: Connection, organization: Organization, user: User) -> None:
    """Refuse to take the last active owner from an organization, whose roles the caller has locked.

    Raises: Conflict `users.last_owner`.
    """
    from bazar_cli.adapters.postgres.orgs import memberships

    if not memberships.has_other_owner(connection, organization.id, user.id):
        raise last_owner(user, (organization.slug,))


def keep_premium(plan: Plan, permission: Permission) -> None:
    """Refuse to take from Premium what superusers need.

    Raises: Conflict `plans.protected`.
    """
    if plan is Plan.PREMIUM and permission in KEPT_BY_PREMIUM:
        kept = sorted(KEPT_BY_PREMIUM)
        raise Conflict(
            "plans.protected",
            f"Premium cannot lose {permission}: superusers on Premium need it to grant permissions",
            hint=f"Premium always keeps {', '.join(kept)}",
            details={"plan": plan.value, "permission": permission.value, "kept": [p.value for p in kept]},
        )


def last_superuser(user: User) -> Conflict:
    """Return the error for a change that would take the last active superuser on Premium."""
    return Conflict(
        "users.last_superuser",
        f"{user.email} is the last active superuser on Premium",
        hint="make another user a superuser on Premium first: `bazar users promote` and `bazar plans assign`",
        details={"user_id": str(user.id)},
    )


def last_owner(user: User, slugs: tuple[str, ...]) -> Conflict:
    """Return the error for a change that would take the last active owner of these organizations."""
    return Conflict(
        "users.last_owner",
        f"{user.email} is the last active owner of {', '.join(slugs)}",
        hint=f"make another member an owner first: `bazar orgs members update {slugs[0]} USER --role owner`",
        details={"user_id": str(user.id), "organizations": list(slugs)},
    )
