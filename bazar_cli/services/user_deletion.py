"""`users delete`: one user out of two systems that share no transaction (design section 4).

`pending delete` is committed first; then the identity goes at Supabase, where 404 is success; then the row.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bazar_cli.domain import scope
from bazar_cli.domain import users as use_cases
from bazar_cli.domain.access import Grant, Pending
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict
from bazar_cli.domain.identities import IdentityRefused, OutcomeUnknown
from bazar_cli.domain.users import DeleteUser, User
from bazar_cli.services import invariants, leases
from bazar_cli.services.consent import confirmed_by_email
from bazar_cli.services.interrupts import step_in_hand
from bazar_cli.services.lookups import user_not_found

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.supabase.admin import AdminClient
    from bazar_cli.services.system import System


def delete(system: System, grant: Grant, request: DeleteUser) -> User:
    """Delete a user from both systems, or finish what an earlier run began; return who it was.

    Raises: NotFound; Denied by the row rules; Refused `users.confirm_mismatch`; Conflict
    `users.last_superuser`, `users.last_owner`, `users.busy`; BackendUnavailable `users.delete_unfinished`
    when the outcome at Supabase is unknown: run it again.
    """
    grant.demand(use_cases.DELETE)
    admin = system.admin(grant)
    lease = uuid.uuid4()
    with step_in_hand() as begin_step:

        def intent(connection: Connection) -> _Doomed:
            doomed = _begin(connection, grant, request, lease)
            begin_step()
            return doomed

        doomed = leases.when_free(intent, system, grant)
        user = doomed.user
        if grant.dry_run:
            return user
        try:
            _remove_identity(admin, doomed)
            _finish(system, grant, user, lease)
        finally:
            leases.give_back(system, grant, user.id, lease)
    return user


@dataclass(frozen=True)
class _Doomed:
    """A user whom this command holds, as the operator may see it, and what proves an identity to be theirs."""

    user: User
    deployment: uuid.UUID
    adopted: bool


def _begin(connection: Connection, grant: Grant, request: DeleteUser, lease: uuid.UUID) -> _Doomed:
    """Commit the intent."""
    from bazar_cli.adapters.postgres import audit, users

    held = users.hold(connection, grant.reach, request.user)
    if held is None:
        raise user_not_found(request.user)
    user = held.user
    scope.not_oneself(grant, user, "delete")
    scope.may_write_user(grant, user)
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
    seen = users.find(connection, grant.reach, str(user.id))
    assert seen is not None, "a user that was locked within reach is within reach"
    if user.pending is not Pending.DELETE:
        invariants.keep_ruler(connection, user)
        invariants.keep_owners(connection, user)
        audit.record(connection, grant, audit.Change("user", user.id, before=_described(user)))
    users.take(connection, user.id, Pending.DELETE, lease)
    return _Doomed(seen, users.deployment(connection), held.adopted)


def _described(user: User) -> dict[str, object]:
    return {
        "email": user.email,
        "name": user.name,
        "plan": user.plan.value,
        "state": user.state.value,
        "is_superuser": user.is_superuser,
        "organizations": {m.slug: m.role.value for m in user.organizations},
    }


def _remove_identity(admin: AdminClient, doomed: _Doomed) -> None:
    user = doomed.user
    if not doomed.adopted and _is_a_strangers(admin, doomed):
        return
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
            raise _unfinished(user, unknown) from unknown


def _is_a_strangers(admin: AdminClient, doomed: _Doomed) -> bool:
    """Whether the identity with the user's id is somebody else's, who took it before a create got to Supabase."""
    try:
        existing = admin.get(doomed.user.id)
    except BackendUnavailable as silent:
        raise _unfinished(doomed.user, silent) from silent
    return existing is not None and existing.deployment != doomed.deployment and existing.email != doomed.user.email


def _unfinished(user: User, unknown: Exception) -> BazarError:
    return BackendUnavailable(
        "users.delete_unfinished",
        f"Supabase Auth did not delete {user.email}: {unknown}",
        hint="run the same command again: it goes on where this one stopped. If it never succeeds, a foreign"
        " key on auth.users (files in Storage, a table of yours) may hold the identity",
        details={"user_id": str(user.id), "email": user.email},
    )


def _finish(system: System, grant: Grant, user: User, lease: uuid.UUID) -> None:
    """Remove the row; where the lease ran out and another run was faster, it is gone already."""
    from bazar_cli.adapters.postgres import users

    with system.database().transaction(grant, finishing=True) as connection:
        if users.remove(connection, user.id, Pending.DELETE, lease):
            return
        left = users.hold_id(connection, user.id)
    if left is not None:
        raise leases.busy_with(user.email)
