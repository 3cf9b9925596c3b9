"""`users promote` and `users demote`: the superuser flag, on and off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.consent import check_consent
from bazar_cli.domain.entities import User, UserState
from bazar_cli.domain.errors import Conflict
from bazar_cli.domain.users import users as use_cases
from bazar_cli.domain.users.users import ChangedUser, ChangeSuperuser
from bazar_cli.services import invariants
from bazar_cli.services.consent import on_user
from bazar_cli.services.users import leases
from bazar_cli.services.users.errors import user_not_found

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.users.users import LockedUser
    from bazar_cli.services.gate.backends import Backends


def promote(backends: Backends, grant: Grant, request: ChangeSuperuser) -> ChangedUser:
    """Make a user a superuser; one who is it already stays as they are.

    Raises: NotFound; Refused `users.confirm_mismatch`; Conflict `users.suspended`, `users.pending`.
    """
    grant.demand(use_cases.PROMOTE)

    def step(connection: Connection) -> ChangedUser:
        held = _confirmed(connection, grant, request, "promote", "this makes {} a superuser")
        if held.user.is_superuser:
            return ChangedUser(held.user, changed=False)
        if held.user.state is UserState.SUSPENDED:
            raise Conflict(
                "users.suspended",
                f"{held.user.email} is suspended, and nobody suspended becomes a superuser",
                hint="name an active user",
                details={"user_id": str(held.user.id)},
            )
        leases.refuse_pending(held)
        return _write(connection, grant, held.user, superuser=True)

    return leases.when_free(step, backends, grant)


def demote(backends: Backends, grant: Grant, request: ChangeSuperuser) -> ChangedUser:
    """Take the superuser flag from a user, oneself included; one who has none stays as they are.

    Nothing at Supabase depends on it, so that a suspended or pending superuser can be demoted too.
    Raises: NotFound; Refused `users.confirm_mismatch`; Conflict `users.last_superuser`.
    """
    grant.demand(use_cases.DEMOTE)

    def step(connection: Connection) -> ChangedUser:
        held = _confirmed(connection, grant, request, "demote", "this takes the superuser flag from {}")
        if not held.user.is_superuser:
            return ChangedUser(held.user, changed=False)
        invariants.keep_ruler(connection, held.user)
        return _write(connection, grant, held.user, superuser=False)

    return leases.when_free(step, backends, grant)


def _confirmed(connection: Connection, grant: Grant, request: ChangeSuperuser, verb: str, text: str) -> LockedUser:
    from bazar_cli.adapters.postgres.users import users

    held = users.lock(connection, grant.reach, request.user)
    if held is None:
        raise user_not_found(request.user)
    check_consent(on_user(held.user, verb, text.format(held.user.email)), request.confirm, optional=grant.dry_run)
    return held


def _write(connection: Connection, grant: Grant, user: User, *, superuser: bool) -> ChangedUser:
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.users import changes, users

    changes.set_superuser(connection, user.id, superuser=superuser)
    change = events.Change(
        "user", user.id, before={"is_superuser": user.is_superuser}, after={"is_superuser": superuser}
    )
    events.record(connection, grant, change)
    # A superuser reached everything when this began: the whole user is theirs to see.
    return ChangedUser(users.seen(connection, grant.reach, user.id), changed=True)
