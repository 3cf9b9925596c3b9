"""The identities at Supabase that this deployment created. A reset can delete all of them but the operator's.

An adopted identity, and one without the stamp of this deployment, belongs to others and is never touched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.errors import BackendUnavailable
from bazar_cli.domain.limits import RateLimit
from bazar_cli.domain.texts import counted
from bazar_cli.domain.users.identities import CREATED, IdentityRefused, OutcomeUnknown

if TYPE_CHECKING:
    from bazar_cli.domain.users.identities import StoredIdentity
    from bazar_cli.services.gate.backends import Backends

_GIVES_UP_AFTER = 3
"""Give up after this many consecutive timeouts: Supabase is down, and to continue would take hours."""
_SHOWN = 100
_NOTIFY_EVERY = 100


def count(backends: Backends, grant: Grant, deployment: UUID | None) -> int:
    """Count the identities that `delete` would delete. Raises: BackendUnavailable; Conflict `supabase.key_refused`."""
    return len(_found(backends, grant, deployment))


def delete(backends: Backends, grant: Grant, deployment: UUID | None, notify: Callable[[str], None]) -> int:
    """Delete the identities that `deployment` created, but not the operator's; return their number.

    The whole list is read before the first deletion, and read again until it shows none, because a deletion moves its
    pages and a reading may skip some. After an interruption the next run finds the rest.
    Raises: BackendUnavailable `db.identities_left` when some are left, and for a list that cannot be read.
    """
    admin = backends.admin(grant)
    deleted = 0
    left: dict[UUID, dict[str, object]] = {}
    limit: RateLimit | None = None
    while listed := {k: v for k, v in _found(backends, grant, deployment).items() if k not in left}:
        if not deleted:
            notify(f"Deleting {counted(len(listed), 'identity')} at Supabase")
        silent = 0
        for user_id, email in listed.items():
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
                if not deleted % _NOTIFY_EVERY:
                    notify(f"Deleted {counted(deleted, 'identity')}")
    if left:
        raise _left(deleted, left, limit)
    return deleted


def _found(backends: Backends, grant: Grant, deployment: UUID | None) -> dict[UUID, str]:
    """Return ids and addresses. A database without a marker has stamped no identity."""
    if deployment is None:
        return {}
    return {
        identity.id: identity.email
        for page in backends.admin(grant).every()
        for identity in page.identities
        if _was_created_here(identity, deployment) and identity.id != grant.operator.id
    }


def _was_created_here(identity: StoredIdentity, deployment: UUID) -> bool:
    return identity.deployment == deployment and identity.origin == CREATED and not identity.is_deleted


def _left(deleted: int, left: dict[UUID, dict[str, object]], limit: RateLimit | None) -> BackendUnavailable:
    first = next(iter(left.values()))
    return BackendUnavailable(
        "db.identities_left",
        f"{counted(len(left), 'identity')} could not be deleted at Supabase, and {deleted} could; the tables are"
        f" unchanged. {first['email']}: {first['reason']}",
        hint="run it again to continue. A row of another table that refers to an identity can prevent its deletion",
        details={"deleted": deleted, "left": list(left.values())[:_SHOWN]},
        limit=limit,
    )
