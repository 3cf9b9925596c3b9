"""The row rules: where an operator may write (docs/permissions.md), checked inside the transaction.

Each rule returns nothing when it allows, and raises Denied with the reason when it does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.entities import Role
from bazar_cli.domain.errors import Denied

if TYPE_CHECKING:
    from bazar_cli.domain.authz.spec import Operator, Reach
    from bazar_cli.domain.entities import User


class Rights(Protocol):
    """The rights of an operator: those of a Grant, or those that planned changes leave them."""

    @property
    def operator(self) -> Operator:
        """The operator, with the superuser flag."""
        ...

    @property
    def reach(self) -> Reach:
        """What the operator can see."""
        ...

    def role_in(self, organization_id: UUID) -> Role | None:
        """The operator's role in an organization, None outside of it."""
        ...


class Place(Protocol):
    """An organization, as far as a rule needs it."""

    @property
    def id(self) -> UUID:
        """Its id."""
        ...

    @property
    def slug(self) -> str:
        """Its slug, for messages."""
        ...


ROLE_NEEDED = {
    Permission.USERS_CREATE: Role.ADMIN,
    Permission.USERS_UPDATE: Role.ADMIN,
    Permission.USERS_DELETE: Role.ADMIN,
    Permission.MEMBERS_MANAGE: Role.ADMIN,
    Permission.ORGS_UPDATE: Role.ADMIN,
    Permission.ORGS_DELETE: Role.OWNER,
}
"""The lowest role that a permission needs in an organization; other permissions need a member."""


def may_create_user(rights: Rights, organization: Place | None, role: Role) -> None:
    """Allow a new user in an organization that the operator administers; without one, to superusers.

    Raises: Denied `access.platform`, `access.role`.
    """
    if rights.operator.is_superuser:
        return
    if organization is None:
        raise Denied(
            "access.platform",
            "only a superuser creates users without an organization",
            hint="add --org with an organization that you administer",
        )
    may_give_role(rights, organization.id, organization.slug, role)


def may_choose_id(rights: Rights) -> None:
    """Allow to choose the id of a new user, to superusers (docs/permissions.md, rule 4).

    Raises: Denied `access.platform`.
    """
    if not rights.operator.is_superuser:
        raise Denied("access.platform", "only a superuser chooses the id of a user", hint="ask a superuser to run it")


def may_write_app_metadata(rights: Rights) -> None:
    """Allow to give a new user `app_metadata`, on which other services base rights, to superusers (rule 4).

    Raises: Denied `access.platform`.
    """
    if not rights.operator.is_superuser:
        raise Denied("access.platform", "only a superuser writes app_metadata", hint="ask a superuser to run it")


def may_give_role(rights: Rights, organization_id: UUID, slug: str, role: Role) -> None:
    """Allow to give `role`: admins below their own role, owners up to owner, superusers anywhere.

    Raises: Denied `access.role`.
    """
    if rights.operator.is_superuser:
        return
    own = rights.role_in(organization_id)
    if not _manages(own, role):
        raise _role_too_low(own, slug, f"make someone {role} of {slug}", role)


def may_see_user(rights: Rights, target: User) -> None:
    """Check that the operator still shares an organization with a user that they can see.

    Raises: RightsChanged inside a transaction, if they no longer share one.
    """
    if not rights.operator.is_superuser and rights.operator.id != target.id:
        shared = rights.reach.organization_ids.intersection(m.organization_id for m in target.organizations)
        rights.role_in(min(shared))


def may_change_member(rights: Rights, user_id: UUID, organization: Place, current: Role, wanted: Role) -> None:
    """Allow to give a member another role: admins below their own, owners any; anybody may lower their own role.

    Raises: Denied `access.role`.
    """
    if rights.operator.is_superuser or (rights.operator.id == user_id and wanted.rank <= current.rank):
        return
    own = rights.role_in(organization.id)
    if not _manages(own, current):
        raise _role_too_low(own, organization.slug, f"change the role of the {current} of {organization.slug}", current)
    may_give_role(rights, organization.id, organization.slug, wanted)


def may_remove_member(rights: Rights, user_id: UUID, organization: Place, current: Role) -> None:
    """Allow to end a membership: admins below their own role, owners any; anybody may end their own.

    Raises: Denied `access.role`.
    """
    if rights.operator.is_superuser or rights.operator.id == user_id:
        return
    own = rights.role_in(organization.id)
    if not _manages(own, current):
        raise _role_too_low(own, organization.slug, f"remove the {current} from {organization.slug}", current)


def may_write_organization(rights: Rights, organization: Place, permission: Permission) -> None:
    """Allow admins and owners to change an organization, owners to delete it, superusers both.

    Raises: Denied `access.role`.
    """
    if rights.operator.is_superuser:
        return
    own, needed = rights.role_in(organization.id), ROLE_NEEDED[permission]
    if own is None or own.rank < needed.rank:
        verb = "delete" if permission is Permission.ORGS_DELETE else "change"
        raise _role_too_low(own, organization.slug, f"{verb} {organization.slug}", needed)


def _manages(own: Role | None, role: Role) -> bool:
    """Whether the role `own` may give and take `role`."""
    return own is Role.OWNER or (own is Role.ADMIN and role.rank < own.rank)


def _role_too_low(own: Role | None, slug: str, what: str, role: Role) -> Denied:
    reason = f"your role is {own}" if own else "you are not a member"
    return Denied(
        "access.role",
        f"you cannot {what}: {reason}",
        hint=f"ask an owner of {slug}",
        details={"organization": slug, "role": role.value, "own_role": own.value if own else None},
    )


def may_write_user(rights: Rights, target: User) -> None:
    """Allow to change `target`: oneself, a superuser, or an admin above them in all their organizations.

    Deleting or suspending oneself is refused by `not_oneself`, not here.
    Raises: Denied `access.platform`, `access.role`.
    """
    _is_above(rights, target, "superusers change superusers", "a superuser changes them", f"change {target.email}")


def may_read_sessions(rights: Rights, target: User) -> None:
    """Allow to read the sessions of `target`, as `may_write_user` allows to change them.

    Raises: Denied `access.platform`, `access.role`.
    """
    doing = f"read the sessions of {target.email}"
    _is_above(rights, target, "superusers read their sessions", "a superuser reads their sessions", doing)


def _is_above(rights: Rights, target: User, if_superuser: str, if_without_organization: str, doing: str) -> None:
    operator = rights.operator
    if operator.is_superuser or operator.id == target.id:
        return
    if target.is_superuser:
        raise Denied(
            "access.platform",
            f"{target.email} is a superuser; only {if_superuser}",
            hint="ask a superuser to run it",
        )
    if not target.organizations:
        raise Denied(
            "access.platform",
            f"{target.email} belongs to no organization; only {if_without_organization}",
            hint="ask a superuser to run it",
        )
    for membership in sorted(target.organizations, key=lambda m: m.organization_id):
        own = rights.role_in(membership.organization_id)
        if own is None or own.rank <= membership.role.rank:
            raise Denied(
                "access.role",
                f"to {doing} you need a higher role than theirs in all of their organizations",
                hint="ask an owner of their organizations, or a superuser",
                details={"user_id": str(target.id)},
            )


def not_oneself(rights: Rights, target: User, action: str) -> None:
    """Refuse to suspend or delete oneself.

    Raises: Denied `access.oneself`.
    """
    if rights.operator.id == target.id:
        raise Denied(
            "access.oneself",
            f"you cannot {action} yourself",
            hint="ask another administrator to run it",
        )


def owner_of_new_organization(rights: Rights) -> UUID:
    """Return the owner of an organization that is created without --owner: the operator."""
    return rights.operator.id
