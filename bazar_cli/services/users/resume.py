"""`doctor --fix` for one user: finish the change that a killed command left pending."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bazar_cli.domain import doctor
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.entities import Pending
from bazar_cli.domain.users import changes as use_cases
from bazar_cli.services.users import adopt, change_email, delete, intent, leases, new_identity, suspend, two_systems
from bazar_cli.services.users.errors import found_user
from bazar_cli.services.users.operation import Claim, Operation, Systems, TakeUp

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.users.users import LockedUser
    from bazar_cli.services.gate.backends import Backends


def _new_user(systems: Systems, connection: Connection, held: LockedUser, claim: Claim) -> Operation:
    return (adopt if held.adopted else new_identity).take_up(systems, connection, held, claim)


BY_FIX: Mapping[Pending, TakeUp] = {
    Pending.CREATE: _new_user,
    Pending.INVITE: _new_user,
    Pending.SUSPEND: suspend.take_up,
    Pending.RESTORE: suspend.take_up,
    Pending.EMAIL: change_email.take_up,
}
"""Changes that the doctor may finish under its own Grant."""
DELETION: Mapping[Pending, TakeUp] = {Pending.DELETE: delete.take_up}
"""Changes that it may finish for an operator who may delete users."""


def resume(backends: Backends, grant: Grant, user_id: uuid.UUID) -> str | None:
    """Finish a pending change of a user, except a deletion, like the command that began it. It sets no password.

    Returns a note for the operator; None where another command finished it.
    Raises: as that command; NotFound `users.not_found`; Conflict `users.busy`.
    """
    grant.demand(doctor.FIX)
    return _resume(Systems.opened(backends, grant), user_id, BY_FIX)


def resume_deletion(backends: Backends, grant: Grant, user_id: uuid.UUID) -> str | None:
    """Finish a deletion, for an operator who may delete the user. Returns and raises: as `resume`."""
    grant.demand(use_cases.DELETE)
    return _resume(Systems.opened(backends, grant), user_id, DELETION)


def _resume(systems: Systems, user_id: uuid.UUID, kinds: Mapping[Pending, TakeUp]) -> str | None:
    """Finish the change that a killed command left pending; return the operation's note.

    Raises: as `complete`; NotFound `users.not_found`; Conflict `users.busy`, also for a change that is not of `kinds`.
    """

    def begin(connection: Connection, lease: uuid.UUID) -> Operation | None:
        held = found_user(intent.lock_free(connection, user_id), str(user_id))
        pending = held.user.pending
        if pending is None:
            return None
        if pending not in kinds:
            raise leases.busy_with(held.user.email)
        return kinds[pending](systems, connection, held, intent.take(connection, held, pending, lease))

    with intent.begun(systems, begin) as operation:
        if operation is None:
            return None
        if systems.grant.dry_run:
            two_systems.foresee(operation)
        else:
            two_systems.complete(operation)
    return operation.note()
