"""`users imports undo`: delete what a run created, but nobody who was touched since. An open run is ended first.

A user is untouched whose row and memberships in Postgres are those that the run wrote, whom no other command changed,
who never signed in, and whose identity was not changed after its creation.

A chunk of users is deleted together, by the protocol of `users.two_systems`: one transaction checks and commits to
them, the requests run side by side, another one removes them. Of a run that wrote identities by SQL, one transaction
deletes both. Users who need more than that are deleted one by one, as `users delete` does: owners, superusers, users
whom another command holds.
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.consent import Impact, Word, check_consent
from bazar_cli.domain.errors import Conflict, Denied, NotFound, Refused, UsageError
from bazar_cli.domain.imports.imports import UNDO, ImportRun, KeptUser, UndoneImport, UndoRun, Via
from bazar_cli.domain.progress import Progress
from bazar_cli.domain.texts import counted
from bazar_cli.domain.users import changes as user_changes
from bazar_cli.domain.users.changes import DeleteUser
from bazar_cli.services.apply.workers import WorkerPool
from bazar_cli.services.imports.apply import CONCURRENCY, PROVEN_SECONDS
from bazar_cli.services.imports.deletions import (
    Deleting,
    Doomed,
    begin_deletions,
    delete_untouched,
    identities_of,
    kept_user,
)
from bazar_cli.services.imports.pace import Pace
from bazar_cli.services.imports.runs import found_run
from bazar_cli.services.users import leases

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.imports.undoing import CreatedRow
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.gate.gate import Gate

CHUNK = 400
_ENDS_THE_RUN = frozenset({"access.changed", "db.no_marker", "db.not_migrated", "supabase.key_refused"})
"""Errors that do not concern one user only."""
_DOING = "users looked at"
REASONS_SHOWN = 10


@dataclass(frozen=True)
class BegunUndo:
    """A run that is undone: the users that it created, those who are gone already, and rows that it never applied."""

    run_id: uuid.UUID
    via: Via
    created: int
    undone: int
    dropped: int


class _Outcomes:
    """What became of the users so far; safe to use by several threads."""

    def __init__(self, gone: int) -> None:
        self.gone = gone
        self.deleted = self.kept = 0
        self.reasons: list[KeptUser] = []
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """How many users were looked at."""
        return self.deleted + self.gone + self.kept

    def note_deleted(self, users: int = 1) -> None:
        """Count users who were deleted."""
        with self._lock:
            self.deleted += users

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
    """End a run that is open, record that it is undone, and return how many users it created.

    Raises: NotFound `imports.not_found`; ConsentNeeded, and Refused `imports.confirm_mismatch`.
    """
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.imports import creations, undoing

    grant.demand(UNDO)
    with backends.database().transaction(grant) as connection:
        run = found_run(connection, grant, request.run)
        is_open = run.finished_at is None
        left = creations.count_open(connection, run.id) if is_open else 0
        created, undone = undoing.counts(connection, run.id)
        check_consent(_impact(run, created, left), request.confirm, optional=grant.dry_run)
        dropped = 0
        if is_open:
            dropped = undoing.close(connection, run.id)
            created, undone = undoing.counts(connection, run.id)
        before = {"created": created} | ({"open": left} if is_open else {})
        events.record(connection, grant, events.Change("import", run.id, before=before))
    return BegunUndo(run.id, run.via, created, undone, dropped)


def undo(
    gate: Gate, begun: BegunUndo, progress: Progress, ended: Callable[[], bool], *, dry_run: bool = False
) -> UndoneImport:
    """Delete the untouched users of a run, or in a dry run say what would become of them.

    It can be repeated: users who are gone are counted as gone. Parameters: `ended` says whether the command is to end.
    Raises: what does not concern one user only.
    """
    return _Undo(gate, begun, progress, ended, dry_run=dry_run).run()


def _impact(run: ImportRun, created: int, left: int) -> Impact:
    ends = f"this ends the import {run.id}, of which {counted(left, 'row')} are left, and deletes" if left else ""
    what = f"{ends or 'this deletes'} the {counted(created, 'user')} that {'it' if left else f'the import {run.id}'}"
    return Impact(
        text=f"{what} created, but nobody who was touched since",
        question="Type the id of the import to delete them",
        command=command_line("users imports undo", str(run.id), confirm=str(run.id)),
        subject=(str(run.id),),
        details={"run_id": str(run.id), "created": created, "open": left},
        word=Word(str(run.id), "the id of the import", "imports.confirm_mismatch", any_case=True),
    )


class _Undo:
    def __init__(
        self, gate: Gate, begun: BegunUndo, progress: Progress, ended: Callable[[], bool], *, dry_run: bool
    ) -> None:
        self._gate = gate
        self._begun = begun
        self._progress = progress
        self._ended = ended
        self._dry_run = dry_run
        self._request = UndoRun(str(begun.run_id))
        self._outcomes = _Outcomes(begun.undone)
        self._pace = Pace(CONCURRENCY, ended)
        self._proven = time.monotonic()

    def run(self) -> UndoneImport:
        begun, outcomes, line = self._begun, self._outcomes, 0
        while not self._ended():
            rows = self._gate.perform(partial(self._following, line=line), UNDO, self._request, dry_run=self._dry_run)
            if not rows:
                self._gate.perform(self._conclude, UNDO, self._request, dry_run=self._dry_run)
                break
            # The gate decides about deletions, and their events name them, as for a single one.
            others = self._gate.perform(
                partial(self._delete, rows=rows), user_changes.DELETE, self._request, dry_run=self._dry_run
            )
            if others:
                self._delete_one_by_one(others)
            self._report()
            line = rows[-1].line
            if time.monotonic() - self._proven >= PROVEN_SECONDS:
                self._gate.prove_again()
                self._proven = time.monotonic()
        return UndoneImport(
            run_id=begun.run_id,
            created=begun.created,
            deleted=outcomes.deleted,
            gone=outcomes.gone,
            kept=outcomes.kept,
            open=begun.created - outcomes.count,
            dropped=begun.dropped,
            reasons=tuple(outcomes.reasons),
            dry_run=self._dry_run,
        )

    def _report(self, *_of_one_chunk: object) -> None:
        self._progress(_DOING, self._outcomes.count, self._begun.created)

    def _following(self, backends: Backends, grant: Grant, _request: UndoRun, *, line: int) -> list[CreatedRow]:
        from bazar_cli.adapters.postgres.imports import undoing

        grant.demand(UNDO)
        with backends.database().read(grant) as connection:
            return undoing.created_after(connection, self._begun.run_id, line, CHUNK)

    def _conclude(self, backends: Backends, grant: Grant, _request: UndoRun) -> None:
        from bazar_cli.adapters.postgres.imports import undoing

        with backends.database().transaction(grant) as connection:
            undoing.end(connection, self._begun.run_id)

    # -- many at once -------------------------------------------------------------------------------------

    def _delete(
        self, backends: Backends, grant: Grant, _request: UndoRun, *, rows: list[CreatedRow]
    ) -> list[CreatedRow]:
        """Delete the users of a chunk; return the rows that are to be deleted one by one."""
        grant.demand(user_changes.DELETE)
        doomed = self._begin_chunk(backends, grant, rows)
        for kept in doomed.kept:
            self._outcomes.note_kept(kept)
        self._outcomes.note_deleted(doomed.removed)
        if self._dry_run:
            self._outcomes.note_deleted(len(doomed.rows))
            return doomed.others
        deleting = Deleting(backends, grant, doomed, self._pace, self._ended)
        try:
            if doomed.rows:
                asyncio.run(deleting.through(backends.bulk_admin(grant, self._pace.most)))
        finally:
            deleted = deleting.settle(self._begun.run_id)
            self._outcomes.note_deleted(deleted)
        if deleting.failure is not None:
            raise deleting.failure
        for kept in deleting.kept:
            self._outcomes.note_kept(kept)
        return doomed.others + deleting.lost

    def _begin_chunk(self, backends: Backends, grant: Grant, rows: list[CreatedRow]) -> Doomed:
        from bazar_cli.adapters.postgres.imports import undoing, with_identities

        seen, may_delete = identities_of(backends, grant, rows, self._pace, self._ended)

        def begin_both(connection: Connection) -> Doomed:
            doomed = begin_deletions(connection, grant, rows, seen)
            with with_identities.rejections():
                undoing.remove_identities(connection, doomed.rows)
            undoing.remove(connection, doomed.rows, doomed.claim)
            undoing.mark(connection, self._begun.run_id, [row.line for row in doomed.rows])
            doomed.removed = len(doomed.rows)
            doomed.rows = []
            return doomed

        if may_delete and self._begun.via is Via.DATABASE and not self._dry_run:
            with suppress(with_identities.ChunkRejected):  # a table or trigger of others; the API names the user
                return leases.when_free(begin_both, backends, grant)
        return leases.when_free(lambda c: begin_deletions(c, grant, rows, seen), backends, grant)

    # -- one by one ---------------------------------------------------------------------------------------

    def _delete_one_by_one(self, rows: list[CreatedRow]) -> None:
        gone: list[int] = []
        pool = WorkerPool(self._gate, self._ended, self._report)
        try:
            pool.each(rows, lambda lent, row: self._take_back(pool, lent, row, gone), _DOING)
        finally:
            mark = partial(self._mark, lines=gone)
            if gone:
                self._gate.perform(mark, UNDO, self._request, dry_run=self._dry_run)

    def _mark(self, backends: Backends, grant: Grant, _request: UndoRun, *, lines: list[int]) -> None:
        from bazar_cli.adapters.postgres.imports import undoing

        with backends.database().transaction(grant, finishing=True) as connection:
            undoing.mark(connection, self._begun.run_id, lines)

    def _take_back(self, pool: WorkerPool, gate: Gate, row: CreatedRow, gone: list[int]) -> None:
        request = DeleteUser(str(row.user_id), confirm=row.email)
        delete_one = partial(delete_untouched, row=row)
        try:
            pool.patiently(lambda: gate.perform(delete_one, user_changes.DELETE, request, dry_run=self._dry_run))
        except NotFound:
            self._outcomes.note_gone()
        except (Conflict, Denied, Refused, UsageError) as error:
            if error.code in _ENDS_THE_RUN:
                raise
            self._outcomes.note_kept(kept_user(row, error))
            return
        else:
            self._outcomes.note_deleted()
        gone.append(row.line)
