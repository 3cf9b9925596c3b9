"""Change a user's name; a new address is changed by `change_email`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bazar_cli.domain.authz import row_rules
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.users import changes as use_cases
from bazar_cli.domain.users.changes import ChangedUser, UpdateUser
from bazar_cli.domain.users.values import checked_name
from bazar_cli.services.users.errors import check_user_version, user_changed_since

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.services.gate.backends import Backends


def update(backends: Backends, grant: Grant, request: UpdateUser) -> ChangedUser:
    """Change the given fields of a user; nothing is written if they already have these values.

    Raises: NotFound `users.not_found`; Denied by the row rules; Conflict `users.changed_since` if the user was
    changed after `if_unchanged_since`, `users.pending` while another change is unfinished; for a new address also as
    `change_email.change`.
    """
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.users import changes, users
    from bazar_cli.services.users import leases

    grant.demand(use_cases.UPDATE)
    if request.email is not None:
        from bazar_cli.services.users import change_email

        return change_email.change(backends, grant, request, request.email)
    name = checked_name(request.name)

    def step(connection: Connection) -> ChangedUser:
        locked = leases.locked_user(connection, grant, request.user)
        user = locked.user
        row_rules.may_write_user(grant, user)
        leases.refuse_pending(locked)
        check_user_version(request.version, user)
        if request.if_unchanged_since is not None and user.updated_at > request.if_unchanged_since:
            raise user_changed_since(user, request.if_unchanged_since)
        changed = request.name is not None and name != user.name
        if changed:
            changes.rename(connection, user.id, name)
            events.record(
                connection,
                grant,
                events.Change("user", user.id, before={"name": user.name}, after={"name": name}),
            )
        return ChangedUser(users.seen(connection, grant.reach, user.id), changed)

    return leases.when_free(step, backends, grant)
