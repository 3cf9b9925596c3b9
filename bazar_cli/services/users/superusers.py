"""`users promote` and `users demote`: the superuser flag, on and off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.consent import check_consent
from bazar_cli.domain.entities import User, UserState
from bazar_cli.domain.errors import Conflict
from bazar_cli.domain.users import changes as use_cases
from bazar_cli.domain.users.changes import ChangedUser, ChangeSuperuser
from bazar_cli.services import invariants
from bazar_cli.services.consent import on_user
from bazar_cli.services.users import leases

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.services.gate.backends import Backends


def promote(backends: Backends, grant: Grant, request: ChangeSuperuser) -> ChangedUser:
    """Make a user a superuser; nothing is written if the user already is one.

    Raises: NotFound; Refused `users.confirm_mismatch`; Conflict `users.suspended`, `users.pending`.
    """
    grant.demand(use_cases.PROMOTE)

    def step(connection: Connection) -> ChangedUser:
        user = (locked := leases.locked_user(connection, grant, request.user)).user
        if not user.is_superuser and user.state is UserState.SUSPENDED:
            raise Conflict(
                "users.suspended",
                f"{user.email} is suspended and cannot become a superuser",
                hint="name an active user",
                details={"user_id": str(user.id)},
            )
        impact = on_user(user, "promote", f"this makes {user.email} a superuser")
        check_consent(impact, request.confirm, optional=grant.dry_run or user.is_superuser)
        if user.is_superuser:
            return ChangedUser(user, changed=False)
        leases.refuse_pending(locked)
        return _write(connection, grant, user, superuser=True)

    return leases.when_free(step, backends, grant)


def demote(backends: Backends, grant: Grant, request: ChangeSuperuser) -> ChangedUser:
    """Take the superuser flag from a user or from oneself; nothing is written if the user does not have it.

    Supabase has no such flag, so a suspended or pending superuser can be demoted too.
    Raises: NotFound; Refused `users.confirm_mismatch`; Conflict `users.last_superuser`.
    """
    grant.demand(use_cases.DEMOTE)

    def step(connection: Connection) -> ChangedUser:
        user = leases.locked_user(connection, grant, request.user).user
        if user.is_superuser:
            invariants.keep_last_superuser(connection, user)
        impact = on_user(user, "demote", f"this takes the superuser flag from {user.email}")
        check_consent(impact, request.confirm, optional=grant.dry_run or not user.is_superuser)
        if not user.is_superuser:
            return ChangedUser(user, changed=False)
        return _write(connection, grant, user, superuser=False)

    return leases.when_free(step, backends, grant)


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
