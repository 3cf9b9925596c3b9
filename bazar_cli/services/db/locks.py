"""Listing the sessions with locks on bazar's tables, and ending one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bazar_cli.adapters.polling import poll
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.consent import Impact, check_consent
from bazar_cli.domain.db import locks as use_cases
from bazar_cli.domain.db.locks import LockSession, ShowLocks
from bazar_cli.domain.errors import BackendUnavailable, NotFound

if TYPE_CHECKING:
    from bazar_cli.services.gate.backends import Backends

_END_SECONDS = 5.0
_POLL_SECONDS = 0.05


def show(backends: Backends, grant: Grant, _request: ShowLocks) -> tuple[LockSession, ...]:
    """Return every session that holds or awaits one of bazar's locks, and those that they wait for."""
    grant.demand(use_cases.LOCKS)
    from bazar_cli.adapters.postgres import locks

    with backends.database().read(grant) as connection:
        return locks.sessions(connection)


def terminate(backends: Backends, grant: Grant, request: ShowLocks) -> LockSession:
    """End one of the sessions that `show` lists; return it.

    The session is ended before the event is recorded: it may hold what the event needs.
    Raises: NotFound `db.session_not_found`; ConsentNeeded; Conflict `db.may_not_terminate`; BackendUnavailable
    `postgres.read_only`, and `db.session_stays` after 5 s.
    """
    grant.demand(use_cases.LOCKS)
    from bazar_cli.adapters.postgres import locks, marker
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.settings import refuse_read_only

    with backends.database().read(grant) as connection:
        found = next((s for s in locks.sessions(connection) if s.pid == request.terminate), None)
        if found is None:
            raise _not_found(request.terminate)
        check_consent(_impact(found), request.agreed, optional=grant.dry_run)
        if grant.dry_run:
            return found
        # Without an event no session may be ended.
        refuse_read_only(connection, backends.target)
        if not locks.end(connection, found):
            raise _not_found(request.terminate)
    ended = _wait_for_end(backends, grant, found)
    with backends.database().transaction(grant, finishing=True) as connection:
        before = {"pid": found.pid, "application": found.application, "user": found.user, "state": found.state}
        events.record(connection, grant, events.Change("database", marker.name(connection), before=before))
    if not ended:
        raise BackendUnavailable(
            "db.session_stays",
            f"{found.text} has not ended within {_END_SECONDS:g} s, although Postgres was asked to end it",
            hint="look again with `bazar db locks`",
            details={"pid": found.pid},
        )
    return found


def _wait_for_end(backends: Backends, grant: Grant, session: LockSession) -> bool:
    from bazar_cli.adapters.postgres import locks

    def has_ended() -> bool:
        with backends.database().read(grant) as connection:
            return not locks.is_there(connection, session)

    return bool(poll(has_ended, seconds=_END_SECONDS, pause=_POLL_SECONDS))


def _impact(session: LockSession) -> Impact:
    activity = "migrates the database" if session.migrating else f"is {session.state or 'in an unknown state'}"
    age = "" if session.age_seconds is None else f" of {session.age_seconds} s"
    return Impact(
        text=f"This ends {session.text}, which {activity}, and rolls back its transaction{age}",
        question="End it?",
        command=f"bazar db locks --terminate {session.pid} --yes",
        subject=(str(session.pid), str(session.started_at)),
        details={"pid": session.pid, "application": session.application, "user": session.user},
    )


def _not_found(pid: int | None) -> NotFound:
    return NotFound(
        "db.session_not_found",
        f"no session with pid {pid} holds or awaits one of bazar's locks",
        hint="see `bazar db locks`",
        details={"pid": pid},
    )
