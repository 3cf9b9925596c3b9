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

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.users.users import LockedUser
    from bazar_cli.services.gate.backends import Backends


def promote(backends: Backends, grant: Grant, request: ChangeSuperuser) -> ChangedUser:
    """Make a user a superuser; nothing is written if the user already is one.

    Raises: NotFound; Refused `users.confirm_mismatch`; Conflict `users.suspended`, `users.pending`.
    """
    grant.demand(use_cases.PROMOTE)

    def step(connection: Connection) -> ChangedUser:
        locked = _lock_confirmed(connection, grant, request, "promote", "this makes {} a superuser")
        if locked.user.is_superuser:
            return ChangedUser(locked.user, changed=False)
        if locked.user.state is UserState.SUSPENDED:
            raise Conflict(
                "users.suspended",
                f"{locked.user.email} is suspended and cannot become a superuser",
                hint="name an active user",
                details={"user_id": str(locked.user.id)},
            )
        leases.refuse_pending(locked)
        return _write(connection, grant, locked.user, superuser=True)

    return leases.when_free(step, backends, grant)


def demote(backends: Backends, grant: Grant, request: ChangeSuperuser) -> ChangedUser:
    """Take the superuser flag from a user or from oneself; nothing is written if the user does not have it.

    Supabase has no such flag, so a suspended or pending superuser can be demoted too.
    Raises: NotFound; Refused `users.confirm_mismatch`; Conflict `users.last_superuser`.
    """
    grant.demand(use_cases.DEMOTE)

    def step(connection: Connection) -> ChangedUser:
        locked = _lock_confirmed(connection, grant, request, "demote", "this takes the superuser flag from {}")
        if not locked.user.is_superuser:
            return ChangedUser(locked.user, changed=False)
        invariants.keep_last_superuser(connection, locked.user)
        return _write(connection, grant, locked.user, superuser=False)

    return leases.when_free(step, backends, grant)


def _lock_confirmed(connection: Connection, grant: Grant, request: ChangeSuperuser, verb: str, text: str) -> LockedUser:
    locked = leases.locked_user(connection, grant, request.user)
    check_consent(on_user(locked.user, verb, text.format(locked.user.email)), request.confirm, optional=grant.dry_run)
    return locked


def _write(connection: Connection, grant: Grant, user: User, *, superuser: bool) -> ChangedUser:
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.users import changes, users

    changes.set_superuser(connection, user.id, superuser=superuser)
    change = events.Change(
        "user", user.id, before={"is_superuser": user.is_superuser}, after={"is_superuser": superuser}
    )
    events.record(connection, grant, change)
    # The operator was a superuser when the transaction began, and may see the whole user.
    return ChangedUser(users.seen(connection, grant.reach, user.id), changed=True)
