"""Organizations: the use cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bazar_cli.domain import orgs as use_cases
from bazar_cli.domain import scope
from bazar_cli.domain.access import Grant, UserState
from bazar_cli.domain.errors import Conflict
from bazar_cli.domain.orgs import (
    CreateOrganization,
    GetOrganization,
    ListOrganizations,
    Organization,
    checked_org_name,
    checked_slug,
    slug_of,
)
from bazar_cli.domain.page import Page, checked_limit
from bazar_cli.services.ids import time_ordered_uuid
from bazar_cli.services.lookups import organization_not_found, user_not_found, user_pending

if TYPE_CHECKING:
    from uuid import UUID

    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.services.system import System


def create(system: System, grant: Grant, request: CreateOrganization) -> Organization:
    """Create an organization; the operator becomes its owner, or, for superusers, the owner they name.

    Raises: UsageError for a bad name or slug; NotFound for an unknown owner; Conflict `orgs.slug_exists`.
    """
    from bazar_cli.adapters.postgres import audit, organizations

    grant.demand(use_cases.CREATE)
    name = checked_org_name(request.name)
    slug = checked_slug(request.slug) if request.slug is not None else slug_of(name)
    with system.database().transaction(grant) as connection:
        owner_id = _owner(connection, grant, request)
        created = organizations.insert(connection, time_ordered_uuid(), slug, name, owner_id)
        after = {"slug": slug, "name": name, "owner": str(owner_id)}
        audit.record(connection, grant, audit.Change("organization", created.id, created.id, before=None, after=after))
        return created


def _owner(connection: Connection, grant: Grant, request: CreateOrganization) -> UUID:
    from bazar_cli.adapters.postgres import users

    if request.owner is None:
        return scope.owner_of_new_organization(grant)
    held = users.hold(connection, grant.reach, request.owner)
    if held is None:
        raise user_not_found(request.owner)
    if held.user.pending is not None:
        raise user_pending(held.user.email, held.user.pending, adopted=held.adopted)
    if held.user.state is not UserState.ACTIVE:
        raise Conflict(
            "users.suspended",
            f"{held.user.email} is suspended, and an organization needs an active owner",
            hint="name an active user with --owner",
            details={"state": held.user.state.value},
        )
    return held.user.id


def list_page(system: System, grant: Grant, request: ListOrganizations) -> Page[Organization]:
    """Return one page of the organizations within reach.

    Raises: UsageError `list.cursor_invalid`, `list.limit_invalid`.
    """
    from bazar_cli.adapters.postgres import organizations

    grant.demand(use_cases.LIST)
    checked_limit(request.limit)
    with system.database().read(grant) as connection:
        return organizations.page(connection, grant.reach, request)


def get(system: System, grant: Grant, request: GetOrganization) -> Organization:
    """Return one organization by id or slug.

    Raises: NotFound `orgs.not_found`, the same for an unknown one and for one out of reach.
    """
    from bazar_cli.adapters.postgres import organizations

    grant.demand(use_cases.GET)
    with system.database().read(grant) as connection:
        found = organizations.find(connection, grant.reach, request.organization)
    if found is None:
        raise organization_not_found(request.organization)
    return found
