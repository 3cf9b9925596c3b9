"""`users sessions`: list and end the sessions of a user.

Supabase Auth has no endpoint for the sessions of other users, so they are read and deleted in `auth.sessions`. The
operator's own session in that table proves that the database belongs to the project.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from bazar_cli.domain.authz import row_rules
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.errors import Conflict, SessionNotFound
from bazar_cli.domain.users import sessions as use_cases
from bazar_cli.domain.users.identities import end_of_tokens
from bazar_cli.domain.users.sessions import OfUser, RevokedSessions, UserSession
from bazar_cli.services.users import leases
from bazar_cli.services.users.errors import found_user

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.domain.entities import User
    from bazar_cli.services.gate.backends import Backends


def sessions(backends: Backends, grant: Grant, request: OfUser) -> tuple[UserSession, ...]:
    """Return a user's sessions, the newest first.

    Raises: NotFound; Denied by the row rules; Conflict `users.sessions_unreadable`, as SessionNotFound if only the
    operator's own session is missing in `auth.sessions`.
    """
    from bazar_cli.adapters.postgres.users import identities, users

    grant.demand(use_cases.LIST)
    with backends.database().read(grant) as connection:
        found = users.find_with_all_memberships(connection, grant.reach, _reference(grant, request))
        user = found_user(found, request.user)
        row_rules.may_read_sessions(grant, user)
        if identities.readable(connection, grant.session_id):
            return identities.sessions_of(connection, user.id, uuid.UUID(grant.session_id))
        has_table = identities.is_there(connection)
    unreadable = _unreadable(grant, user, "read")
    raise SessionNotFound(unreadable) if has_table else unreadable


def revoke(backends: Backends, grant: Grant, request: OfUser) -> RevokedSessions:
    """End all sessions of a user, for oneself also that of this command; nothing is written if there are none.

    Issued access tokens remain valid until they expire, and live as long as the operator's own. Where no
    session was ended, it is unknown when the last token was issued.
    Raises: NotFound; Denied by the row rules; Conflict `users.sessions_unreadable`.
    """
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.users import identities

    grant.demand(use_cases.REVOKE)

    def step(connection: Connection) -> tuple[User, int, bool | None]:
        user = leases.locked_user(connection, grant, _reference(grant, request)).user
        row_rules.may_write_user(grant, user)
        if not identities.may_end_sessions(connection, grant.session_id):
            raise _unreadable(grant, user, "end")
        ended = identities.end_sessions(connection, user.id)
        if ended:
            change = events.Change("user", user.id, before={"sessions": ended}, after={"sessions": 0})
            events.record(connection, grant, change)
        return user, ended, identities.has_signed_in(connection, user.id)

    user, ended, signed_in = leases.when_free(step, backends, grant)
    now, lifetime = datetime.now(timezone.utc), grant.token_lifetime
    return RevokedSessions(
        user_id=user.id,
        email=user.email,
        ended=ended,
        tokens_issued=signed_in is not False or ended > 0,
        tokens_valid_until=end_of_tokens(now, lifetime) if lifetime is not None and ended else None,
        own=user.id == grant.operator.id,
    )


def _reference(grant: Grant, request: OfUser) -> str:
    """Return the user's reference; the operator's own address becomes the id, by which the gate decided."""
    operator = grant.operator
    return str(operator.id) if request.user.lower() == operator.email else request.user


def _unreadable(grant: Grant, user: User, what: str) -> Conflict:
    suspend = command_line("users suspend", user.email, reason="TEXT")
    own = user.id == grant.operator.id
    instead = "end all of yours with `bazar auth logout --everywhere`" if own else f"keep them out with `{suspend}`"
    return Conflict(
        "users.sessions_unreadable",
        f"DATABASE_URL cannot {what} the sessions of {user.email}: no `auth.sessions` of this project,"
        " or none that its database user may use",
        hint=f"{instead}, or use the database of the project with its user `postgres`",
        details={"user_id": str(user.id)},
    )
