"""`users delete`: one user out of two systems that share no transaction (docs/architecture.md).

`pending delete` is committed first; then the identity goes at Supabase, where 404 is success; then the row.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bazar_cli.domain.authz import row_rules
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.entities import Pending, User
from bazar_cli.domain.errors import BackendUnavailable, Conflict
from bazar_cli.domain.users import users as use_cases
from bazar_cli.domain.users.identities import Failure, IdentityRefused, OutcomeUnknown
from bazar_cli.domain.users.users import DeleteUser
from bazar_cli.services import invariants
from bazar_cli.services.consent import confirmed_by_email
from bazar_cli.services.users import identity_of, leases
from bazar_cli.services.users.errors import user_not_found

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.supabase.admin import AdminClient
    from bazar_cli.services.gate.backends import Backends


def delete(backends: Backends, grant: Grant, request: DeleteUser) -> User:
    """Delete a user from both systems, or finish what an earlier run began; return who it was.

    Raises: NotFound; Denied by the row rules; Refused `users.confirm_mismatch`; Conflict
    `users.last_superuser`, `users.last_owner`, `users.busy`, `users.taken_over`, `users.pending` for an adoption
    that nobody finished: whose the identity is shows when it is; BackendUnavailable
    `users.delete_unfinished` when the outcome at Supabase is unknown: run it again.
    """
    grant.demand(use_cases.DELETE)
    admin = backends.admin(grant)

    def intent(connection: Connection, lease: uuid.UUID) -> _Doomed:
        return _begin(connection, grant, request, lease)

    with leases.claimed(backends, grant, intent) as doomed:
        if grant.dry_run:
            return doomed.user
        _remove_identity(backends, grant, admin, doomed)
        _finish(backends, grant, doomed)
    return replace(doomed.user, pending=None)


@dataclass(frozen=True, kw_only=True)
class _Doomed(leases.Claim):
    """A user who is to go, as the operator may see it, and the addresses that prove an identity to be theirs."""

    user: User
    addresses: frozenset[str]


def _begin(connection: Connection, grant: Grant, request: DeleteUser, lease: uuid.UUID) -> _Doomed:
    """Commit the intent."""
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.users import changes, users

    held = users.lock(connection, grant.reach, request.user)
    if held is None:
        raise user_not_found(request.user)
    user = held.user
    row_rules.not_oneself(grant, user, "delete")
    row_rules.may_write_user(grant, user)
    confirmed_by_email(grant, user, request.confirm, "deleting", "delete")
    if held.leased:
        raise leases.Busy(user.email)
    if request.only_pending and user.pending is not Pending.DELETE:
        raise Conflict(
            "users.busy",
            f"another command changed {user.email} meanwhile; the user is not being deleted",
            hint="look at the user with `bazar users get`",
            details={"email": user.email},
        )
    if held.adopted:
        # Whose stamp nobody has seen yet may be somebody else's identity: it is not deleted with the row.
        leases.refuse_pending(held, {Pending.CREATE})
    if user.pending is not Pending.DELETE:
        invariants.keep_ruler(connection, user)
        invariants.keep_owners(connection, user)
        events.record(connection, grant, events.Change("user", user.id, before=_described(user)))
    changes.take(connection, user.id, Pending.DELETE, lease)
    return _Doomed(
        id=user.id,
        email=user.email,
        pending=Pending.DELETE,
        lease=lease,
        deployment=users.deployment(connection),
        adopted=held.adopted,
        resumed=user.pending is Pending.DELETE,
        user=replace(users.seen(connection, grant.reach, user.id), pending=user.pending),
        addresses=identity_of.addresses(connection, user),
    )


def _described(user: User) -> dict[str, object]:
    return {
        "email": user.email,
        "name": user.name,
        "plan": user.plan.value,
        "state": user.state.value,
        "is_superuser": user.is_superuser,
        # By id: a slug may be another organization's by the time that the event is read.
        "organizations": [
            {"id": str(m.organization_id), "slug": m.slug, "role": m.role.value} for m in user.organizations
        ],
    }


def _remove_identity(backends: Backends, grant: Grant, admin: AdminClient, doomed: _Doomed) -> None:
    user = doomed.user
    with leases.begun(lambda silent: _unfinished(doomed, silent)):
        existing = None if doomed.adopted else admin.get(user.id)
    if existing is not None and not identity_of.is_theirs(existing, doomed, doomed.addresses):
        return
    leases.keep(backends, grant, doomed)
    try:
        admin.delete(user.id)
    except IdentityRefused as refusal:
        raise Conflict(
            "users.delete_refused",
            f"Supabase Auth refused to delete {user.email}: {refusal.message}",
            hint="mend the cause and run the same command again, or check the key with `bazar doctor`",
            details={"status": refusal.status, "supabase_code": refusal.code, "user_id": str(user.id)},
        ) from refusal
    except OutcomeUnknown as unknown:
        try:
            gone = admin.get(user.id) is None
        except BackendUnavailable:
            gone = False
        if not gone:
            raise _unfinished(doomed, unknown) from unknown


def _unfinished(doomed: _Doomed, unknown: Failure) -> BackendUnavailable:
    return BackendUnavailable(
        "users.delete_unfinished",
        f"Supabase Auth did not delete {doomed.email}: {unknown}",
        hint=leases.advice(doomed, unknown),
        details={"user_id": str(doomed.id), "email": doomed.email},
        limit=unknown.limit,
    )


def _finish(backends: Backends, grant: Grant, doomed: _Doomed) -> None:
    """Remove the row; where the lease ran out and another run was faster, it is gone already."""
    from bazar_cli.adapters.postgres.users import changes, users

    with backends.database().transaction(grant, finishing=True) as connection:
        if changes.remove(connection, doomed.id, doomed.pending, doomed.lease):
            return
        left = users.lock_by_id(connection, doomed.id)
    if left is not None:
        raise leases.busy_with(doomed.email)
