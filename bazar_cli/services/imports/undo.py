"""`users imports undo`: delete what a run created, user by user, but nobody who was touched since.

A user is untouched whose row and memberships in Postgres are those that the run wrote, who never signed in, and whose
identity was not changed after its creation. The deletion checks the row again under its lock.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.consent import Impact, Word, check_consent
from bazar_cli.domain.entities import User
from bazar_cli.domain.errors import Conflict, Denied, NotFound, Refused, UsageError
from bazar_cli.domain.imports.imports import UNDO, ImportRun, KeptUser, UndoneImport, UndoRun
from bazar_cli.domain.progress import Progress
from bazar_cli.domain.texts import counted
from bazar_cli.domain.users import users
from bazar_cli.domain.users.changes import DeleteUser
from bazar_cli.domain.users.identities import StoredIdentity
from bazar_cli.services.apply.workers import WorkerPool
from bazar_cli.services.imports.runs import found_run
from bazar_cli.services.users import delete

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.imports.creations import CreatedRow
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.gate.gate import Gate

_CHUNK = 200
_CREATION = timedelta(seconds=10)
"""The longest that Supabase Auth works on one request: a creation inserts an identity and then updates it (v2.196)."""
_ENDS_THE_RUN = frozenset({"access.changed", "db.no_marker", "db.not_migrated", "supabase.key_refused"})
"""Errors that do not concern one user only."""
REASONS_SHOWN = 10


@dataclass(frozen=True)
class BegunUndo:
    """A run that is undone, and how many users it created."""

    run_id: uuid.UUID
    created: int


class _Outcomes:
    """What became of the users so far; safe to use by several threads."""

    def __init__(self) -> None:
        self.deleted = self.gone = self.kept = 0
        self.reasons: list[KeptUser] = []
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """How many users were looked at."""
        return self.deleted + self.gone + self.kept

    def note_deleted(self) -> None:
        """Count a user who was deleted."""
        with self._lock:
            self.deleted += 1

    def note_gone(self) -> None:
        """Count a user who was deleted before."""
        with self._lock:
            self.gone += 1

    def note_kept(self, user: KeptUser) -> None:
        """Count a user who was kept, and keep the reason of the first ones."""
        with self._lock:
            self.kept += 1
            self.reasons = sorted([*self.reasons, user], key=lambda kept: kept.line)[:REASONS_SHOWN]


def begin(backends: Backends, grant: Grant, request: UndoRun) -> BegunUndo:
    """Return the run and how many users it created, and record that it is undone.

    Raises: NotFound `imports.not_found`; Conflict `imports.run_open`; ConsentNeeded, and Refused
    `imports.confirm_mismatch`.
    """
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.imports import creations

    grant.demand(UNDO)
    with backends.database().transaction(grant) as connection:
        run = found_run(connection, grant, request.run)
        created = creations.count_created(connection, run.id)
        if run.finished_at is None:
            raise Conflict(
                "imports.run_open",
                f"the import {run.id} is not finished",
                hint="run the same `bazar users import` again, which finishes it, and then undo it",
                details={"run_id": str(run.id)},
            )
        check_consent(_impact(run, created), request.confirm, optional=grant.dry_run)
        events.record(connection, grant, events.Change("import", run.id, before={"created": created}))
    return BegunUndo(run.id, created)


def undo(
    gate: Gate, begun: BegunUndo, progress: Progress, ended: Callable[[], bool], *, dry_run: bool = False
) -> UndoneImport:
    """Delete the untouched users of a run, or in a dry run say what would become of them.

    It can be repeated: who is gone is counted as gone. Parameters: `ended` says whether the command is to end.
    Raises: what does not concern one user only.
    """
    outcomes, line = _Outcomes(), 0

    def report(*_of_one_chunk: object) -> None:
        progress("users looked at", outcomes.count, begun.created)

    pool = WorkerPool(gate, ended, report)
    while not ended():
        following = partial(_following, run_id=begun.run_id, line=line)
        rows = gate.perform(following, UNDO, UndoRun(str(begun.run_id)), dry_run=dry_run)
        if not rows:
            break
        pool.each(rows, lambda lent, row: _take_back(pool, lent, row, outcomes, dry_run=dry_run), "users looked at")
        report()
        line = rows[-1].line
        gate.prove_again()
    return UndoneImport(
        run_id=begun.run_id,
        created=begun.created,
        deleted=outcomes.deleted,
        gone=outcomes.gone,
        kept=outcomes.kept,
        open=begun.created - outcomes.count,
        reasons=tuple(outcomes.reasons),
        dry_run=dry_run,
    )


def _impact(run: ImportRun, created: int) -> Impact:
    what = f"this deletes the {counted(created, 'user')} that the import {run.id} created, but nobody who was touched"
    return Impact(
        text=f"{what} since",
        question="Type the id of the import to delete them",
        command=command_line("users imports undo", str(run.id), confirm=str(run.id)),
        subject=(str(run.id),),
        details={"run_id": str(run.id), "created": created},
        word=Word(str(run.id), "the id of the import", "imports.confirm_mismatch", any_case=True),
    )


def _following(
    backends: Backends, grant: Grant, _request: UndoRun, *, run_id: uuid.UUID, line: int
) -> list[CreatedRow]:
    from bazar_cli.adapters.postgres.imports import creations

    grant.demand(UNDO)
    with backends.database().read(grant) as connection:
        return creations.created_after(connection, run_id, line, _CHUNK)


def _take_back(pool: WorkerPool, gate: Gate, row: CreatedRow, outcomes: _Outcomes, *, dry_run: bool) -> None:
    request = DeleteUser(str(row.user_id), confirm=row.email)
    try:
        pool.patiently(lambda: gate.perform(partial(_delete, row=row), users.DELETE, request, dry_run=dry_run))
    except NotFound:
        outcomes.note_gone()
    except (Conflict, Denied, Refused, UsageError) as error:
        if error.code in _ENDS_THE_RUN:
            raise
        outcomes.note_kept(KeptUser(row.line, row.email, row.user_id, error.code, error.message))
    else:
        outcomes.note_deleted()


def _delete(backends: Backends, grant: Grant, request: DeleteUser, *, row: CreatedRow) -> User:
    identity = backends.admin(grant).get(row.user_id)

    def allowed(user: User) -> None:
        why = _touched(row, user, identity)
        if why:
            raise Conflict("imports.user_touched", f"{user.email} {why}")

    return delete.delete(backends, grant, request, allowed=allowed)


def _touched(row: CreatedRow, user: User, identity: StoredIdentity | None) -> str:
    """Return what happened to a user after the run, "" for nothing."""
    if user.updated_at != row.updated_at or user.email != row.email:
        return "was changed after the import"
    if frozenset((m.organization_id, m.role) for m in user.organizations) != row.memberships:
        return "has other memberships than the import gave"
    if identity is None:
        return ""
    if identity.has_signed_in:
        return "has signed in"
    if identity.updated_at and identity.created_at and identity.updated_at - identity.created_at > _CREATION:
        return "was changed at Supabase after the import"
    return ""
