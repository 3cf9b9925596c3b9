"""The identities at Supabase that this deployment created: all but the operator's can go with a reset.

An adopted identity, and one without this deployment's stamp, belongs to somebody else and is never touched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.errors import BackendUnavailable
from bazar_cli.domain.limits import RateLimit
from bazar_cli.domain.users.identities import CREATED, IdentityRefused, OutcomeUnknown

if TYPE_CHECKING:
    from bazar_cli.domain.users.identities import StoredIdentity
    from bazar_cli.services.gate.backends import Backends

_GIVES_UP_AFTER = 3
"""So many answers in a row that say nothing: then Supabase is away, and asking on would take hours."""
_SHOWN = 100
_TOLD_EVERY = 100


def count(backends: Backends, grant: Grant, deployment: UUID | None) -> int:
    """Count the identities that `delete` would delete. Raises: BackendUnavailable; Conflict `supabase.key_refused`."""
    return len(_found(backends, grant, deployment))


def delete(backends: Backends, grant: Grant, deployment: UUID | None, notify: Callable[[str], None]) -> int:
    """Delete the identities that `deployment` created, but for the operator's; return how many.

    The list is read to its end before the first one goes, and again until it shows none: deleting moves its pages, and
    one reading may skip. What an interrupted run left, the next one finds.
    Raises: BackendUnavailable `db.identities_left` when some stayed, and for a list that cannot be read.
    """
    admin = backends.admin(grant)
    deleted = 0
    left: dict[UUID, dict[str, object]] = {}
    limit: RateLimit | None = None
    while going := {k: v for k, v in _found(backends, grant, deployment).items() if k not in left}:
        if not deleted:
            notify(f"Deleting {len(going)} identities at Supabase")
        silent = 0
        for user_id, email in going.items():
            try:
                admin.delete(user_id)
            except (IdentityRefused, OutcomeUnknown) as error:
                left[user_id] = {"id": str(user_id), "email": email, "reason": str(error)}
                limit = error.limit or limit
                silent = silent + 1 if isinstance(error, OutcomeUnknown) else 0
                if silent == _GIVES_UP_AFTER:
                    raise _left(deleted, left, limit) from error
            else:
                silent = 0
                deleted += 1
                if not deleted % _TOLD_EVERY:
                    notify(f"Deleted {deleted} identities")
    if left:
        raise _left(deleted, left, limit)
    return deleted


def _found(backends: Backends, grant: Grant, deployment: UUID | None) -> dict[UUID, str]:
    """The ids and addresses of all that go; a database without marker has stamped nobody."""
    if deployment is None:
        return {}
    return {
        identity.id: identity.email
        for page in backends.admin(grant).every()
        for identity in page.identities
        if _goes(identity, deployment) and identity.id != grant.operator.id
    }


def _goes(identity: StoredIdentity, deployment: UUID) -> bool:
    return identity.deployment == deployment and identity.origin == CREATED and not identity.is_deleted


def _left(deleted: int, left: dict[UUID, dict[str, object]], limit: RateLimit | None) -> BackendUnavailable:
    first = next(iter(left.values()))
    return BackendUnavailable(
        "db.identities_left",
        f"{len(left)} identities could not be deleted at Supabase, {deleted} were, and the tables are untouched;"
        f" {first['email']}: {first['reason']}",
        hint="run it again: it goes on; a row of another table that refers to an identity may keep it",
        details={"deleted": deleted, "left": list(left.values())[:_SHOWN]},
        limit=limit,
    )
