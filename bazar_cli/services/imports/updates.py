"""Existing users that a run changes: each change by the service of its command, with its locks, rules and event."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from bazar_cli.domain import plans
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.consent import ConsentNeeded
from bazar_cli.domain.entities import Role
from bazar_cli.domain.errors import BazarError, Conflict, Denied, NotFound, Refused, UsageError
from bazar_cli.domain.imports.imports import IMPORT, Action, ImportRun, ImportUsers, Status
from bazar_cli.domain.orgs import members
from bazar_cli.domain.orgs.members import AddMember, UpdateMember
from bazar_cli.domain.plans import AssignPlan
from bazar_cli.domain.progress import ignored
from bazar_cli.domain.users import changes as user_changes
from bazar_cli.domain.users.changes import UpdateUser
from bazar_cli.services.apply.workers import WorkerPool
from bazar_cli.services.orgs import members as member_services
from bazar_cli.services.plans import changes as plan_services
from bazar_cli.services.users import update

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.imports.creations import Chunk, ClaimedRow, Ended
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.gate.gate import Gate

_CHUNK = 60
_ENDS_THE_RUN = frozenset({"access.changed", "db.no_marker", "db.not_migrated", "supabase.key_refused"})
"""Errors that do not concern one user only."""


def work(gate: Gate, run: ImportRun, request: ImportUsers, ended: Callable[[], bool]) -> int | None:
    """Update the users of the next chunk; return how many rows ended, None without a free row.

    Raises: what does not concern one user only.
    """
    from bazar_cli.adapters.postgres.imports import creations

    chunk = creations.Chunk(run.id, uuid.uuid4())

    def claim(backends: Backends, grant: Grant, _request: ImportUsers) -> list[ClaimedRow]:
        with backends.database().transaction(grant) as connection:
            return creations.claim(connection, chunk, Action.UPDATE, _CHUNK)

    rows = gate.perform(claim, IMPORT, request)
    if not rows:
        return None
    outcomes: list[Ended] = []
    pool = WorkerPool(gate, ended, ignored)
    try:
        pool.each(rows, lambda lent, row: outcomes.append(_updated(lent, row)), "users updated")
    finally:
        count = gate.perform(lambda b, g, _: _end(b, g, chunk, outcomes, rows), IMPORT, request)
    return count


def _end(backends: Backends, grant: Grant, chunk: Chunk, outcomes: list[Ended], rows: list[ClaimedRow]) -> int:
    from bazar_cli.adapters.postgres.imports import creations

    with backends.database().transaction(grant, finishing=True) as connection:
        count = creations.end(connection, chunk, outcomes)
        if len(outcomes) < len(rows):
            creations.release(connection, chunk, rows)
    return count


def _updated(gate: Gate, row: ClaimedRow) -> Ended:
    """Make the changes of a row, which may be done in part already; return its outcome."""
    from bazar_cli.adapters.postgres.imports.creations import Ended

    user = str(row.user_id)
    try:
        if row.name is not None:
            gate.perform(update.update, user_changes.UPDATE, UpdateUser(user, name=row.name))
        if row.plan is not None:
            _assign(gate, AssignPlan(user, row.plan))
        for organization in row.organizations:
            _join(gate, AddMember(organization["id"], user, Role(organization["role"])))
    except (Conflict, Denied, NotFound, Refused, UsageError) as error:
        if error.code in _ENDS_THE_RUN:
            raise
        return _failed(row, error)
    return Ended(row.line, Status.UPDATED)


def _assign(gate: Gate, request: AssignPlan) -> None:
    try:
        gate.perform(plan_services.assign, plans.ASSIGN, request)
    except ConsentNeeded as needed:
        # --on-conflict update agrees to what the file says, but not to what takes a typed word.
        if needed.impact.word is not None:
            raise
        gate.perform(plan_services.assign, plans.ASSIGN, replace(request, agreed=needed.impact))


def _join(gate: Gate, request: AddMember) -> None:
    try:
        gate.perform(member_services.add, members.ADD, request)
    except Conflict as conflict:
        if conflict.code != "members.differs":
            raise
        change = UpdateMember(request.organization, request.user, request.role)
        gate.perform(member_services.update, members.UPDATE, change)


def _failed(row: ClaimedRow, error: BazarError) -> Ended:
    from bazar_cli.adapters.postgres.imports.creations import Ended

    return Ended(row.line, Status.FAILED, error.code, error.message)
