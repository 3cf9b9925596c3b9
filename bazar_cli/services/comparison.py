"""Both systems side by side: what `doctor` compares (design section 4).

Identities are read by SQL where the operator's own session proves that `auth.*` of the database belongs to the
same project, else through the Auth API, which takes longer and whose list may skip. Every suspect of that list
is therefore asked for by id before it counts as found.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from bazar_cli.domain import doctor as use_cases
from bazar_cli.domain.access import Grant
from bazar_cli.domain.doctor import SHOWN_ROWS, Affected, Comparison, Found, PendingUser

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.supabase.admin import AdminClient
    from bazar_cli.services.system import System

_CHECKED_BY_ID = 1000
"""So many suspects are asked for one by one; beyond that two systems differ so much that a few do not matter."""


def compare(system: System, grant: Grant, _request: None = None) -> Comparison:
    """Return what the two systems disagree on, and who is in the middle of a change.

    Raises: BackendUnavailable; Conflict `supabase.key_refused`.
    """
    from bazar_cli.adapters.postgres import comparison, identities, users

    grant.demand(use_cases.COMPARE)
    with system.database().read(grant) as connection:
        unsettled = comparison.pending_users(connection)
        deployment = users.deployment(connection)
        if identities.readable(connection, grant.session_id):
            return Comparison(
                unsettled,
                comparison.users_without_identity(connection),
                comparison.identities_without_user(connection, deployment),
            )
    return _by_api(system, grant, deployment, unsettled)


def pending(system: System, grant: Grant, _request: None = None) -> tuple[PendingUser, ...]:
    """Return who is in the middle of a change, without looking at Supabase."""
    from bazar_cli.adapters.postgres import comparison

    grant.demand(use_cases.COMPARE)
    with system.database().read(grant) as connection:
        return comparison.pending_users(connection)


def _by_api(system: System, grant: Grant, deployment: uuid.UUID, unsettled: tuple[PendingUser, ...]) -> Comparison:
    from bazar_cli.adapters.postgres import comparison

    admin = system.admin(grant)
    listed, stamped, unread = _listed(admin, deployment)
    with system.database().read(grant) as connection:
        missing = [user.id for user in comparison.every_user(connection) if user.id.int not in listed]
        orphans = _without_row(connection, stamped)
    missing = [i for i in missing[:_CHECKED_BY_ID] if not _lives(admin, i)] + missing[_CHECKED_BY_ID:]
    orphans = [o for o in orphans[:_CHECKED_BY_ID] if _lives(admin, o.id)] + orphans[_CHECKED_BY_ID:]
    # Both lists are older than the answers by id: who was created or deleted meanwhile is no finding.
    with system.database().read(grant) as connection:
        without_identity = comparison.still_settled(connection, missing)
        without_row = _without_row(connection, {o.id: o.email for o in orphans})
    return Comparison(
        unsettled,
        Found(len(without_identity), without_identity[:SHOWN_ROWS]),
        Found(len(without_row), tuple(without_row[:SHOWN_ROWS])),
        unread=unread,
    )


def _listed(admin: AdminClient, deployment: uuid.UUID) -> tuple[set[int], dict[uuid.UUID, str], int]:
    """Every living id of Supabase's list, the stamped identities among them, and how many it did not show."""
    living: set[int] = set()
    stamped: dict[uuid.UUID, str] = {}
    deleted: set[int] = set()
    total = 0
    for page in admin.every():
        total = page.total
        for identity in page.identities:
            (deleted if identity.is_deleted else living).add(identity.id.int)
            if identity.deployment == deployment and not identity.is_deleted:
                stamped[identity.id] = identity.email
    return living, stamped, max(0, total - len(living) - len(deleted))


def _lives(admin: AdminClient, user_id: uuid.UUID) -> bool:
    identity = admin.get(user_id)
    return identity is not None and not identity.is_deleted


def _without_row(connection: Connection, stamped: dict[uuid.UUID, str]) -> list[Affected]:
    from bazar_cli.adapters.postgres import comparison

    rows = comparison.known(connection, list(stamped))
    return [Affected(i, email) for i, email in stamped.items() if i not in rows]
