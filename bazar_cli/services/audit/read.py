"""Reading the audit log, and verifying that it is whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

from bazar_cli.domain import audit as use_cases
from bazar_cli.domain.audit import (
    AuditEvent,
    EventFilters,
    ListEvents,
    Verification,
    VerifyLog,
    as_seen_by,
    checked_action,
    checked_seal_hash,
)
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.page import Page, checked_limit
from bazar_cli.services.users.errors import organization_not_found

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.audit.log import Selection
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.services.gate.backends import Backends


def list_page(backends: Backends, grant: Grant, request: ListEvents) -> Page[AuditEvent]:
    """Return one page of the events that the operator can see, the newest first.

    Raises: NotFound `orgs.not_found`; UsageError `audit.action_invalid`, `list.cursor_invalid`, `list.limit_invalid`.
    """
    from bazar_cli.adapters.postgres.audit import log

    grant.demand(use_cases.LIST)
    checked_limit(request.limit)
    with backends.database().read(grant) as connection:
        selection = _selected(connection, grant, request.filters)
        page = log.page(connection, grant.reach, selection, request)
    return Page(_seen(grant, page.items), page.next_cursor)


def export(backends: Backends, grant: Grant, filters: EventFilters) -> Iterator[Page[AuditEvent]]:
    """Yield all events that the operator can see, the oldest first, some hundred at a time.

    Raises: as `list_page`, before the first page.
    """
    from bazar_cli.adapters.postgres.audit import log

    grant.demand(use_cases.EXPORT)
    with backends.database().read(grant) as connection:
        selection = _selected(connection, grant, filters)
        for batch in log.stream(connection, grant.reach, selection):
            yield Page(_seen(grant, batch), None)


def verify(backends: Backends, grant: Grant, request: VerifyLog) -> Verification:
    """Seal committed events, except in a dry run, and check the log and the guards of its tables.

    Raises: UsageError `audit.hash_invalid`.
    """
    from bazar_cli.adapters.postgres.audit import chain, tables

    grant.demand(use_cases.VERIFY)
    expect = checked_seal_hash(request.expect) if request.expect is not None else None
    if not grant.dry_run:
        with backends.database().transaction(grant) as connection:
            chain.seal(connection)
    with backends.database().read(grant) as connection:
        found = chain.verify(connection, expect)
        return replace(found, unguarded=tables.unguarded(connection))


def _seen(grant: Grant, events: tuple[AuditEvent, ...]) -> tuple[AuditEvent, ...]:
    return tuple(as_seen_by(grant.operator, event) for event in events)


def _selected(connection: Connection, grant: Grant, filters: EventFilters) -> Selection:
    """Find the users and organizations that the filters name, also deleted ones, if the operator can see them."""
    from bazar_cli.adapters.postgres.audit import log

    actions = None
    if filters.action is not None:
        actions = log.actions_like(connection, checked_action(filters.action))
    targets = _targets(connection, grant, filters.target) if filters.target is not None else None
    organizations = None
    if filters.organization is not None:
        organizations = _organizations(connection, grant, filters.organization)
    return log.Selection(filters, targets, actions, organizations)


def _targets(connection: Connection, grant: Grant, reference: str) -> tuple[str, ...]:
    """Return what events may call the target: its id, and in denials the name that was given."""
    from bazar_cli.adapters.postgres.audit import log
    from bazar_cli.adapters.postgres.orgs import organizations
    from bazar_cli.adapters.postgres.users import users

    try:
        ids = {str(UUID(reference))}
    except ValueError:
        ids = set(log.targets_named(connection, grant.reach, reference, ("user", "organization")))
        # The id of a plan is its name.
        ids |= {reference.lower()} if reference.isascii() else set()
    user = users.find(connection, grant.reach, reference)
    if user is not None:
        ids |= {str(user.id), user.email}
    organization = organizations.find(connection, grant.reach, reference)
    if organization is not None:
        ids |= {str(organization.id), organization.slug}
    return tuple(sorted(ids))


def _organizations(connection: Connection, grant: Grant, reference: str) -> tuple[UUID, ...]:
    """Return the id of the organization, for superusers also of deleted ones that had this slug.

    Raises: NotFound `orgs.not_found`.
    """
    from bazar_cli.adapters.postgres.audit import log
    from bazar_cli.adapters.postgres.orgs import organizations

    found = organizations.find(connection, grant.reach, reference)
    if found is not None:
        return (found.id,)
    if not grant.reach.everything:
        raise organization_not_found(reference)
    try:
        return (UUID(reference),)
    except ValueError:
        gone = log.targets_named(connection, grant.reach, reference, ("organization",))
    if not gone:
        raise organization_not_found(reference)
    return tuple(UUID(i) for i in gone)
