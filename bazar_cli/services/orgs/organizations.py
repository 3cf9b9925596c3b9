"""Organizations: the use cases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bazar_cli.domain.authz import row_rules
from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.consent import Impact, Word, check_consent
from bazar_cli.domain.entities import BEING_CREATED_OR_DELETED, Organization, UserState
from bazar_cli.domain.errors import Conflict
from bazar_cli.domain.exports import WantedRows, WrittenRows
from bazar_cli.domain.orgs import organizations as use_cases
from bazar_cli.domain.orgs.organizations import (
    CreatedOrganization,
    CreateOrganization,
    DeleteOrganization,
    Dissolution,
    GetOrganization,
    ListOrganizations,
    UpdatedOrganization,
    UpdateOrganization,
    checked_org_name,
    checked_slug,
    slug_of,
)
from bazar_cli.domain.page import Page, checked_limit
from bazar_cli.domain.versions import Version, check_version
from bazar_cli.services.users import leases
from bazar_cli.services.users.errors import found_organization
from bazar_cli.services.users.ids import time_ordered_uuid

if TYPE_CHECKING:
    from uuid import UUID

    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.services.gate.backends import Backends


def create(backends: Backends, grant: Grant, request: CreateOrganization) -> CreatedOrganization:
    """Create an organization; the operator becomes its owner, or, for superusers, the owner they name.

    Raises: UsageError for a bad name or slug; NotFound for an unknown owner; Conflict `orgs.slug_exists`.
    """
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.orgs import organizations
    from bazar_cli.adapters.transliteration import in_ascii

    grant.demand(use_cases.CREATE)
    name = checked_org_name(request.name)
    slug = checked_slug(request.slug) if request.slug is not None else slug_of(name, in_ascii)

    def step(connection: Connection) -> CreatedOrganization:
        owner_id = _owner(connection, grant, request)
        created = organizations.insert(connection, time_ordered_uuid(), slug, name, owner_id)
        if created is None:
            raise _slug_exists(connection, slug, "orgs create", name, owner=request.owner)
        after = {"slug": slug, "name": name, "owner": str(owner_id)}
        events.record(
            connection, grant, events.Change("organization", created.id, created.id, before=None, after=after)
        )
        return CreatedOrganization(created, id_is_provisional=grant.dry_run)

    return leases.when_free(step, backends, grant)


def _owner(connection: Connection, grant: Grant, request: CreateOrganization) -> UUID:
    if request.owner is None:
        return row_rules.owner_of_new_organization(grant)
    locked = leases.locked_user(connection, grant, request.owner)
    leases.refuse_pending(locked)
    owner = locked.user
    if owner.state is not UserState.ACTIVE:
        raise Conflict(
            "users.suspended",
            f"{owner.email} is suspended, and an organization needs an active owner",
            hint="name an active user with --owner",
            details={"state": owner.state.value},
        )
    return owner.id


def list_page(backends: Backends, grant: Grant, request: ListOrganizations) -> Page[Organization]:
    """Return one page of the organizations that the operator can see.

    Raises: UsageError `list.cursor_invalid`, `list.limit_invalid`.
    """
    from bazar_cli.adapters.postgres.orgs import organizations

    grant.demand(use_cases.LIST)
    checked_limit(request.limit)
    with backends.database().read(grant) as connection:
        return organizations.page(connection, grant.reach, request)


def export(
    backends: Backends, grant: Grant, wanted: WantedRows | None = None
) -> Iterator[Page[Organization] | WrittenRows]:
    """Yield all organizations that the operator can see, the oldest first, some at a time.

    Parameters: with `wanted` Postgres writes the rows, unless the database is not in UTF-8.
    """
    from bazar_cli.adapters.postgres import row_texts
    from bazar_cli.adapters.postgres.orgs import organizations

    grant.demand(use_cases.EXPORT)
    with backends.database().read(grant) as connection:
        if wanted is not None and row_texts.are_exact(connection):
            yield from organizations.texts(connection, grant.reach, wanted)
        else:
            for batch in organizations.stream(connection, grant.reach):
                yield Page(batch, None)


def get(backends: Backends, grant: Grant, request: GetOrganization) -> Organization:
    """Return one organization by id or slug.

    Raises: NotFound `orgs.not_found`, also for one that the operator cannot see.
    """
    from bazar_cli.adapters.postgres.orgs import organizations

    grant.demand(use_cases.GET)
    with backends.database().read(grant) as connection:
        found = organizations.find(connection, grant.reach, request.organization)
    return found_organization(found, request.organization)


def update(backends: Backends, grant: Grant, request: UpdateOrganization) -> UpdatedOrganization:
    """Change the given fields of an organization; nothing is written if they already have these values.

    Raises: UsageError for a bad name or slug; NotFound `orgs.not_found`; Denied by the row rules; VersionChanged
    `orgs.changed_since`; Conflict `orgs.slug_exists`.
    """
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.orgs import organizations

    grant.demand(use_cases.UPDATE)
    given = {} if request.name is None else {"name": checked_org_name(request.name)}
    given |= {} if request.slug is None else {"slug": checked_slug(request.slug)}

    def step(connection: Connection) -> UpdatedOrganization:
        locked = _lock(connection, grant, request.organization, wanted_slug=given.get("slug"))
        row_rules.may_write_organization(grant, locked, Permission.ORGS_UPDATE)
        _check_version(request.version, locked)
        before = {"slug": locked.slug, "name": locked.name}
        after = before | given
        if after == before:
            return UpdatedOrganization(locked, changed=False)
        changed = organizations.change(connection, locked.id, after["slug"], after["name"])
        if changed is None:
            name = None if request.name is None else after["name"]
            raise _slug_exists(connection, after["slug"], "orgs update", locked.slug, name=name)
        events.record(connection, grant, events.Change("organization", locked.id, locked.id, before, after))
        return UpdatedOrganization(changed, changed=True)

    return leases.when_free(step, backends, grant)


def delete(backends: Backends, grant: Grant, request: DeleteOrganization) -> Dissolution:
    """Delete an organization with its memberships, but not its users. Return what was deleted.

    Raises: NotFound `orgs.not_found`; Denied by the row rules; Refused `orgs.confirm_mismatch`;
    VersionChanged `orgs.changed_since`; Conflict `users.pending` while a member is being created or deleted, which
    needs the organization.
    """
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.orgs import memberships, organizations

    grant.demand(use_cases.DELETE)

    def step(connection: Connection) -> Dissolution:
        gone = _dissolution(connection, grant, _lock(connection, grant, request.organization))
        organization = gone.organization
        _check_version(request.version, organization)
        check_consent(_impact(gone), request.confirm, optional=grant.dry_run)
        before = {
            "slug": organization.slug,
            "name": organization.name,
            "members": {role.value: count for role, count in gone.roles.items()},
            "owners": [str(owner) for owner in memberships.owners(connection, organization.id)],
        }
        organizations.delete(connection, organization.id)
        events.record(connection, grant, events.Change("organization", organization.id, organization.id, before))
        return gone

    return leases.when_free(step, backends, grant)


def _check_version(wanted: frozenset[Version] | None, organization: Organization) -> None:
    check_version(wanted, Version(organization.id, organization.updated_at), "orgs.changed_since", organization.slug)


def _lock(connection: Connection, grant: Grant, reference: str, *, wanted_slug: str | None = None) -> Organization:
    from bazar_cli.adapters.postgres.orgs import organizations

    change = organizations.Lock.CHANGE
    locked = organizations.lock(connection, grant.reach, reference, change, wanted_slug=wanted_slug)
    return found_organization(locked, reference)


def _dissolution(connection: Connection, grant: Grant, organization: Organization) -> Dissolution:
    from bazar_cli.adapters.postgres.orgs import memberships
    from bazar_cli.adapters.postgres.users import users

    row_rules.may_write_organization(grant, organization, Permission.ORGS_DELETE)
    unfinished = users.user_being_created_or_deleted_in(connection, organization.id)
    if unfinished is not None:
        leases.refuse_pending(unfinished, BEING_CREATED_OR_DELETED)
    roles = memberships.roles(connection, organization.id)
    return Dissolution(organization, roles, memberships.only_here(connection, organization.id))


def _impact(gone: Dissolution) -> Impact:
    slug = gone.organization.slug
    return Impact(
        text=gone.described(),
        question="Type the slug to do it",
        command=command_line("orgs delete", slug, confirm=slug),
        subject=(str(gone.organization.id),),
        users=sum(gone.roles.values()),
        details={
            "organization_id": str(gone.organization.id),
            "members": {role.value: count for role, count in gone.roles.items()},
            "left_alone": gone.left_alone,
        },
        word=Word(slug, "the slug", "orgs.confirm_mismatch", any_case=True),
    )


def _slug_exists(connection: Connection, slug: str, command: str, named: str, **options: str | None) -> Conflict:
    """Return the error for a slug that another organization has, with a free slug.

    Parameters: `command` was run with the argument `named` and these options, and with a slug.
    """
    from bazar_cli.adapters.postgres.orgs import organizations

    free = organizations.free_slug(connection, slug)
    again = command_line(command, named, **options, slug=free)
    if free is None:
        hint = "choose another with --slug"
    elif "`" in again:
        hint = f"{free} is free: run it again with --slug {free}"
    else:
        hint = f"{free} is free: `{again}`"
    return Conflict(
        "orgs.slug_exists",
        f"an organization with the slug {slug} already exists",
        hint=hint,
        details={"slug": slug, "free": free},
    )
