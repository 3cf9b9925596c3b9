"""`users delete`: commit `pending delete`, then delete the identity, then the row."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from bazar_cli.domain.authz import row_rules
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.consent import check_consent
from bazar_cli.domain.entities import Pending, User
from bazar_cli.domain.errors import BackendUnavailable, Conflict
from bazar_cli.domain.users import changes as use_cases
from bazar_cli.domain.users.changes import DeleteUser
from bazar_cli.domain.users.identities import Failure, IdentityRefused
from bazar_cli.services import invariants
from bazar_cli.services.consent import on_user
from bazar_cli.services.users import intent, leases, two_systems
from bazar_cli.services.users.errors import check_user_version
from bazar_cli.services.users.operation import Claim, Operation, Systems

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.users.users import LockedUser
    from bazar_cli.services.gate.backends import Backends


def delete(
    backends: Backends, grant: Grant, request: DeleteUser, *, allowed: Callable[[User], None] = lambda _user: None
) -> User:
    """Delete a user from both systems, or finish what an earlier run began; return the deleted user.

    Parameters: `allowed` raises for a user who is not to be deleted, as they are when they are locked.
    Raises: NotFound; Denied by the row rules; Refused `users.confirm_mismatch`; VersionChanged
    `users.changed_since`; Conflict `users.last_superuser`, `users.last_owner`, `users.busy`,
    `users.taken_over`, `users.pending` for an unfinished adoption;
    BackendUnavailable `users.delete_unfinished` when the outcome at Supabase is unknown: run it again.
    """
    grant.demand(use_cases.DELETE)
    systems = Systems.opened(backends, grant)

    with intent.begun(
        systems, lambda connection, lease: _begin(systems, connection, request, lease, allowed)
    ) as deletion:
        if grant.dry_run:
            return deletion.user
        return replace(two_systems.complete(deletion), pending=None)


def _begin(
    systems: Systems,
    connection: Connection,
    request: DeleteUser,
    lease: uuid.UUID,
    allowed: Callable[[User], None],
) -> _Deletion:
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.users import users

    grant = systems.grant
    held = leases.locked_user(connection, grant, request.user)
    user = held.user
    row_rules.not_oneself(grant, user, "delete")
    row_rules.may_write_user(grant, user)
    impact = on_user(user, "delete", f"this deletes {user.email} from both systems")
    check_consent(impact, request.confirm, optional=grant.dry_run)
    if held.leased:
        raise leases.Busy(user.email)
    if held.adopted:
        # An identity without a stamp may be another user's: it is not deleted with the row.
        leases.refuse_pending(held, {Pending.CREATE})
    if user.pending is not Pending.DELETE:
        check_user_version(request.version, user)
        allowed(user)
        invariants.keep_last_superuser(connection, user)
        invariants.keep_owners(connection, user)
        events.record(connection, grant, events.Change("user", user.id, before=described(user)))
    claim = intent.take(connection, held, Pending.DELETE, lease)
    seen = replace(users.seen(connection, grant.reach, user.id), pending=user.pending)
    return _deletion(systems, connection, seen, claim)


def described(user: User) -> dict[str, object]:
    """Return what the event of a deletion keeps of a user."""
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


def take_up(systems: Systems, connection: Connection, held: LockedUser, claim: Claim) -> _Deletion:
    """Go on with a deletion that was confirmed and recorded, for an operator who may delete the user.

    Raises: Denied by the row rules.
    """
    row_rules.not_oneself(systems.grant, held.user, "delete")
    row_rules.may_write_user(systems.grant, held.user)
    return _deletion(systems, connection, held.user, claim)


def _deletion(systems: Systems, connection: Connection, user: User, claim: Claim) -> _Deletion:
    addresses = intent.addresses_of(connection, claim.id, claim.email)
    return _Deletion(systems=systems, claim=claim, user=user, addresses=addresses)


class _Deletion(Operation):
    """Delete the identity, unless it is another user's, then the row."""

    def as_wanted(self) -> bool:
        return not self.is_theirs

    def call(self) -> None:
        self.systems.admin.delete(self.claim.id)

    def refused(self, refusal: IdentityRefused) -> Conflict:
        hint = "correct the cause and run the same command again, or check the key with `bazar doctor`"
        return self.call_refused("users.delete_refused", "delete", refusal, hint)

    def unfinished(self, unknown: Failure) -> BackendUnavailable:
        message = f"Supabase Auth did not delete {self.claim.email}"
        return self.outcome_unknown("users.delete_unfinished", message, unknown)

    def settle(self, connection: Connection) -> bool:
        from bazar_cli.adapters.postgres.users import changes

        return changes.remove(connection, self.claim.id, self.claim.pending, self.claim.lease)

    def lost(self, row: User | None, /) -> None:
        if row is not None:  # else another run was faster
            raise leases.busy_with(self.claim.email)
