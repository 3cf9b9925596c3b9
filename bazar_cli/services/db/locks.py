"""Who holds the migration lock and bazar's tables, and ending a session that holds others up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.consent import Impact
from bazar_cli.domain.db import locks as use_cases
from bazar_cli.domain.db.locks import LockSession, ShowLocks
from bazar_cli.domain.errors import BackendUnavailable, NotFound

if TYPE_CHECKING:
    from bazar_cli.services.gate.backends import Backends

_END_SECONDS = 5.0
_POLL_SECONDS = 0.05


def show(backends: Backends, grant: Grant, _request: ShowLocks) -> tuple[LockSession, ...]:
    """Return every session that has to do with bazar's locks."""
    grant.demand(use_cases.LOCKS)
    from bazar_cli.adapters.postgres import locks

    with backends.database().read(grant) as connection:
        return locks.sessions(connection)


def terminate(backends: Backends, grant: Grant, request: ShowLocks) -> LockSession | Impact:
    """End one of the sessions that `show` lists; return it, or the impact that nobody agreed to yet.

    Its end comes before its event, and needs no lock: what it holds may be what an event needs.
    Raises: NotFound `db.session_not_found`; Conflict `db.may_not_terminate`; BackendUnavailable
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
        impact = _impact(found)
        if grant.dry_run:
            return found
        if request.agreed is None or not request.agreed.covers(impact):
            return impact
        # Of a session that ended there must be an event.
        refuse_read_only(connection, backends.target)
        if not locks.end(connection, found):
            raise _not_found(request.terminate)
    gone = _gone(backends, grant, found)
    with backends.database().transaction(grant, finishing=True) as connection:
        before = {"pid": found.pid, "application": found.application, "user": found.user, "state": found.state}
        events.record(connection, grant, events.Change("database", marker.name(connection), before=before))
    if not gone:
        raise BackendUnavailable(
            "db.session_stays",
            f"{found.text} was told to end and has not within {_END_SECONDS:g} s",
            hint="look again with `bazar db locks`",
            details={"pid": found.pid},
        )
    return found


def _gone(backends: Backends, grant: Grant, session: LockSession) -> bool:
    from bazar_cli.adapters.postgres import locks

    deadline = time.monotonic() + _END_SECONDS
    while True:
        with backends.database().read(grant) as connection:
            if not locks.is_there(connection, session):
                return True
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)


def _impact(session: LockSession) -> Impact:
    doing = "migrates the database" if session.migrating else f"is {session.state or 'in an unknown state'}"
    age = "" if session.age_seconds is None else f" of {session.age_seconds} s"
    return Impact(
        text=f"This ends {session.text}, which {doing}, and takes back its transaction{age}",
        question="End it?",
        command=f"bazar db locks --terminate {session.pid} --yes",
        subject=(str(session.pid), str(session.started_at)),
        details={"pid": session.pid, "application": session.application, "user": session.user},
    )


def _not_found(pid: int | None) -> NotFound:
    return NotFound(
        "db.session_not_found",
        f"no session with pid {pid} holds or awaits a lock of bazar's",
        hint="see `bazar db locks`",
        details={"pid": pid},
    )
