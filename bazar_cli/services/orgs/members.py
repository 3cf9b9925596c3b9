"""Members of organizations: the use cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bazar_cli.domain.authz import row_rules
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.consent import Impact, check_consent
from bazar_cli.domain.entities import BEING_CREATED_OR_DELETED, Role
from bazar_cli.domain.errors import Conflict, NotFound
from bazar_cli.domain.orgs import members as use_cases
from bazar_cli.domain.orgs.members import AddMember, ListMembers, Member, MemberChange, RemoveMember, UpdateMember
from bazar_cli.domain.page import Page, checked_limit
from bazar_cli.services import invariants
from bazar_cli.services.users import leases
from bazar_cli.services.users.errors import found_organization, found_user

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.orgs.organizations import Lock
    from bazar_cli.adapters.postgres.users.users import LockedUser
    from bazar_cli.domain.entities import Organization, User
    from bazar_cli.services.gate.backends import Backends


def list_page(backends: Backends, grant: Grant, request: ListMembers) -> Page[Member]:
    """Return one page of an organization's members, the oldest membership first.

    Raises: NotFound `orgs.not_found`; UsageError `list.cursor_invalid`, `list.limit_invalid`.
    """
    from bazar_cli.adapters.postgres.orgs import memberships, organizations

    grant.demand(use_cases.LIST)
    checked_limit(request.limit)
    with backends.database().read(grant) as connection:
        found = organizations.find(connection, grant.reach, request.organization)
        return memberships.page(connection, found_organization(found, request.organization).id, request)


def add(backends: Backends, grant: Grant, request: AddMember) -> MemberChange:
    """Make a user a member; nothing is written if the user already has the role.

    Raises: NotFound `orgs.not_found`, `users.not_found`; Denied by the row rules; Conflict `members.differs` for a
    member with another role, `users.pending`.
    """
    from bazar_cli.adapters.postgres.orgs import memberships, organizations
    from bazar_cli.adapters.postgres.users import users

    grant.demand(use_cases.ADD)

    def step(connection: Connection) -> MemberChange:
        organization = _lock_organization(connection, grant, request.organization, organizations.Lock.KEEP)
        locked = users.lock(connection, grant.reach, request.user)
        # The operator's right is checked before the user, of whom a denial says nothing.
        row_rules.may_give_role(grant, organization.id, organization.slug, request.role)
        user = _settled_user(locked, request.user)
        row_rules.may_see_user(grant, user)
        current = _role_in(user, organization)
        if current is None:
            memberships.insert(connection, organization.id, user.id, request.role)
        elif current is not request.role:
            raise _differs(organization, user, current, request.role)
        return _recorded(connection, grant, organization, user, request.role)

    return leases.when_free(step, backends, grant)


def update(backends: Backends, grant: Grant, request: UpdateMember) -> MemberChange:
    """Give a member another role; nothing is written if the member already has it.

    Raises: NotFound `orgs.not_found`, `users.not_found`, `members.not_found`; Denied by the row rules; Conflict
    `users.last_owner`, `users.pending`.
    """
    from bazar_cli.adapters.postgres.orgs import memberships, organizations

    grant.demand(use_cases.UPDATE)

    def step(connection: Connection) -> MemberChange:
        organization = _lock_organization(connection, grant, request.organization, organizations.Lock.ROLES)
        user = _lock_user(connection, grant, request.user)
        current = _role_in(user, organization)
        if current is None:
            # The operator's right is checked first, as by `add`.
            row_rules.may_give_role(grant, organization.id, organization.slug, request.role)
            raise _no_member(organization, user, request.role)
        row_rules.may_change_member(grant, user.id, organization, current, request.role)
        if current is not request.role:
            if current is Role.OWNER:
                invariants.keep_owner(connection, organization, user)
            memberships.change(connection, organization.id, user.id, request.role)
        return _recorded(connection, grant, organization, user, request.role)

    return leases.when_free(step, backends, grant)


def remove(backends: Backends, grant: Grant, request: RemoveMember) -> MemberChange:
    """End a membership; nothing is written if the user is not a member.

    Raises: NotFound `orgs.not_found`, `users.not_found`; Denied by the row rules; ConsentNeeded; Conflict
    `users.last_owner`, `users.pending`.
    """
    from bazar_cli.adapters.postgres.orgs import memberships, organizations

    grant.demand(use_cases.REMOVE)

    def step(connection: Connection) -> MemberChange:
        organization = _lock_organization(connection, grant, request.organization, organizations.Lock.ROLES)
        user = _lock_user(connection, grant, request.user)
        current = _role_in(user, organization)
        row_rules.may_remove_member(grant, user.id, organization, current or Role.MEMBER)
        if current is None:
            return _change(organization, user, None, None)
        if current is Role.OWNER:
            invariants.keep_owner(connection, organization, user)
        check_consent(_impact(request, organization, user, current), request.agreed, optional=grant.dry_run)
        memberships.delete(connection, organization.id, user.id)
        return _recorded(connection, grant, organization, user, None)

    return leases.when_free(step, backends, grant)


def _impact(request: RemoveMember, organization: Organization, user: User, role: Role) -> Impact:
    return Impact(
        text=f"this removes the role {role} of {user.email} in {organization.slug}",
        question=f"Remove {user.email} from {organization.slug}?",
        command=command_line("orgs members remove", request.organization, request.user, yes=True),
        subject=(str(organization.id), str(user.id), role.value),
        details={"organization": organization.slug, "user_id": str(user.id), "role": role.value},
    )


def _lock_organization(connection: Connection, grant: Grant, reference: str, lock: Lock) -> Organization:
    from bazar_cli.adapters.postgres.orgs import organizations

    return found_organization(organizations.lock(connection, grant.reach, reference, lock), reference)


def _lock_user(connection: Connection, grant: Grant, reference: str) -> User:
    from bazar_cli.adapters.postgres.users import users

    return _settled_user(users.lock(connection, grant.reach, reference), reference)


def _settled_user(locked: LockedUser | None, reference: str) -> User:
    """Return the user, unless a creation or deletion of the user is unfinished, which relies on the memberships."""
    held = found_user(locked, reference)
    leases.refuse_pending(held, BEING_CREATED_OR_DELETED)
    return held.user


def _role_in(user: User, organization: Organization) -> Role | None:
    return next((m.role for m in user.organizations if m.organization_id == organization.id), None)


def _change(organization: Organization, user: User, role: Role | None, previous: Role | None) -> MemberChange:
    return MemberChange(organization.slug, user.id, user.email, role, previous)


def _recorded(
    connection: Connection, grant: Grant, organization: Organization, user: User, role: Role | None
) -> MemberChange:
    """Return the change since the user was locked, and record its event if something changed."""
    from bazar_cli.adapters.postgres.audit import events

    change = _change(organization, user, role, _role_in(user, organization))
    if change.changed:
        before, after = (
            None if role is None else {"organization": organization.slug, "role": role.value}
            for role in (change.previous_role, change.role)
        )
        events.record(connection, grant, events.Change("user", user.id, organization.id, before, after))
    return change


def _differs(organization: Organization, user: User, current: Role, wanted: Role) -> Conflict:
    update = command_line("orgs members update", organization.slug, user.email, role=wanted)
    return Conflict(
        "members.differs",
        f"{user.email} already has the role {current} in {organization.slug}",
        hint=f"to change the role: `{update}`",
        details={"organization": organization.slug, "role": current.value},
    )


def _no_member(organization: Organization, user: User, wanted: Role) -> NotFound:
    add = command_line("orgs members add", organization.slug, user.email, role=wanted)
    return NotFound(
        "members.not_found",
        f"{user.email} is not a member of {organization.slug}",
        hint=f"to add them: `{add}`",
        details={"organization": organization.slug, "user": user.email},
    )
