"""The connection that migrates, and one revision on it: under the lock, tried again while a table is locked."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import psycopg
from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.exc import DBAPIError, PendingRollbackError

from bazar_cli.adapters.migrations.connection import driver_error, driver_of, open_to_migrate
from bazar_cli.adapters.postgres import locks
from bazar_cli.adapters.postgres.diagnostics import Diagnostics, diagnostics_of
from bazar_cli.adapters.postgres.errors import translate
from bazar_cli.adapters.postgres.migration_lock import LockWait, migration_lock
from bazar_cli.adapters.postgres.settings import refuse_read_only
from bazar_cli.domain.db.migrations import STATEMENT_TIMEOUT, AppliedRevision
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict

if TYPE_CHECKING:
    from bazar_cli.domain.db.locks import LockSession
    from bazar_cli.domain.db.migrations import Revision
    from bazar_cli.domain.secrets import Secret
    from bazar_cli.domain.target import Target

T = TypeVar("T")
RETRIES = 10
_SHOWN_HOLDERS = 3
_RESUME = "mend what it says, then run `bazar db migrate`: it goes on from there"
_RETRY_PAUSE_SECONDS = (0.2, 1.5)
_LOCK_NOT_AVAILABLE = "55P03"
_BUSY = frozenset({_LOCK_NOT_AVAILABLE, "40P01"})
_OF_STATEMENTS = (DBAPIError, PendingRollbackError, psycopg.Error)
_OF_THE_REVISION = frozenset({"postgres.unexpected", "postgres.rejected", "db.not_migrated"})
"""Errors of a statement that mean something else in a command than in a revision."""
_TAKEN_BACK = frozenset({"postgres.busy", "postgres.read_only"})
"""Errors after which the server has taken the transaction back, and said so."""


@dataclass
class _Attempt:
    """One try of something that a lock may stop: how often it was tried before, and since when."""

    number: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def milliseconds(self) -> int:
        """The time since the first try."""
        return round((time.monotonic() - self.began) * 1000)


class MigratingSession:
    """A connection that holds the migration lock.

    Parameters: `lock_timeout` is how long a statement waits for a table, `lock_wait` how long one does that is
    alone in its revision and harms nobody by waiting, and `statement_timeout` how long it may take, 0 for no limit;
    all in seconds.
    """

    def __init__(
        self,
        target: Target,
        connection: Connection,
        lock: LockWait,
        lock_timeout: float,
        lock_wait: float,
        statement_timeout: float,
        notify: Callable[[str], None],
    ) -> None:
        self.connection = connection
        self.lock = lock
        self._target = target
        self._lock_timeout = lock_timeout
        self._lock_wait = lock_wait
        self._statement_timeout = statement_timeout
        self._notify = notify

    @property
    def driver(self) -> psycopg.Connection:
        """The same connection without SQLAlchemy."""
        return driver_of(self.connection)

    def translate(self, error: DBAPIError | psycopg.Error) -> BazarError:
        """Return the domain error for one of this session, whose limits are its own."""
        return translate(driver_error(error), self._target, own_timeout=self._statement_timeout)

    def run(
        self,
        revisions: Sequence[Revision],
        move: Callable[[Iterator[str]], None],
        told: Callable[[Revision], None],
        resume: str = _RESUME,
        before: Sequence[AppliedRevision] = (),
    ) -> list[AppliedRevision]:
        """Move the database over revisions, each in its own transaction; start one again that a lock stopped.

        Parameters: `move` takes their names from an iterator and moves over each before it asks for the next one;
        `told` gets each revision before it begins; `resume` and `before` say how to go on and what was applied.
        Raises: BackendUnavailable `db.lock_lost`, `postgres.busy`; Conflict `db.revision_failed`; as `translate` says.
        """
        moved: list[AppliedRevision] = []
        attempt = _Attempt()

        def course() -> Generator[str]:
            nonlocal attempt
            for revision in revisions[len(moved) :]:
                if attempt.number == 0:
                    told(revision)
                if not revision.transactional and (holders := self._holders()):
                    # It may wait for them longer than others do.
                    self._notify(f"Waiting for {_named(holders)}")
                # In the transaction of the revision, which Alembic goes on with.
                self.lock.check(self._patience(revision))
                yield revision.id
                moved.append(AppliedRevision(revision, attempt.milliseconds, attempt.number))
                attempt = _Attempt()

        def failed(error: DBAPIError | psycopg.Error, sqlstate: str | None) -> BazarError:
            return self._failed(error, sqlstate, revision, facts(), resume)

        def facts() -> dict[str, object]:
            return {"revision": revision.id, "applied": [m.revision.id for m in (*before, *moved)]}

        while len(moved) < len(revisions):
            revision = revisions[len(moved)]
            # What Alembic asks before its first step waits no longer for a lock either.
            self._check(self._patience(revision))
            steps = course()
            try:
                move(steps)
            except _OF_STATEMENTS as raised:
                if len(moved) == len(revisions):
                    # What Alembic ends a run with; a lock stops it no second time.
                    raise self.translate(_of_the_database(raised)) from raised
                revision = revisions[len(moved)]
                # What runs without a transaction may have left half of itself: that is for the next run to look at.
                self._wait_or_raise(raised, revision.id, attempt, facts(), failed, again=revision.transactional)
            except BazarError:
                raise
            except Exception as raised:  # a revision is code of its own, which may raise anything
                if len(moved) == len(revisions):
                    raise
                self._roll_back()
                revision = revisions[len(moved)]
                raise _failed_revision(revision, _said(raised), facts(), resume) from raised
            finally:
                steps.close()
        return moved

    def run_whole(self, what: str, move: Callable[[], T]) -> T:
        """Do something in one transaction, and return its result; start it again when a lock stopped it.

        Parameters: `what` names it, at the start of a sentence. Raises: BackendUnavailable `db.lock_lost`,
        `postgres.busy`; as `translate` says, and what `move` raises.
        """
        attempt = _Attempt()
        while True:
            try:
                self._check(self._lock_timeout)
                return move()
            except _OF_STATEMENTS as raised:
                self._wait_or_raise(raised, what, attempt, {}, lambda error, _: self.translate(error))

    def _patience(self, revision: Revision) -> float:
        return self._lock_timeout if revision.transactional else max(self._lock_wait, self._lock_timeout)

    def _check(self, patience: float) -> None:
        self.lock.check(patience)
        self.driver.commit()

    def _roll_back(self) -> None:
        self.connection.rollback()
        self.lock.roll_back()  # of what began without SQLAlchemy

    def _holders(self) -> tuple[LockSession, ...]:
        """The sessions that have locked tables of bazar's and wait for nobody, the oldest transaction first."""
        with self.driver.transaction():
            found = locks.sessions(self.driver)
        return tuple(session for session in found if session.tables and not session.blocked_by)

    def _wait_or_raise(
        self,
        raised: Exception,
        what: str,
        attempt: _Attempt,
        facts: Mapping[str, object],
        failed: Callable[[DBAPIError | psycopg.Error, str | None], BazarError],
        *,
        again: bool = True,
    ) -> None:
        error = _of_the_database(raised)
        self._roll_back()
        sqlstate = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)
        if sqlstate not in _BUSY:
            raise failed(error, sqlstate) from raised
        if not again or attempt.number == RETRIES:
            raise _busy(what, sqlstate, self._holders(), facts) from raised
        self._notify(f"{what} waited too long for {_named(self._holders())}; trying again")
        attempt.number += 1
        time.sleep(random.uniform(*_RETRY_PAUSE_SECONDS))  # noqa: S311 - jitter, no secret

    def _failed(
        self,
        error: DBAPIError | psycopg.Error,
        sqlstate: str | None,
        revision: Revision,
        facts: Mapping[str, object],
        resume: str,
    ) -> BazarError:
        facts = {**facts, "sqlstate": sqlstate}
        said = self.translate(error)
        if said.code in _OF_THE_REVISION:
            own = diagnostics_of(driver_error(error))
            return _failed_revision(revision, own.text, facts, own.advice(resume))
        if said.code in _TAKEN_BACK:
            said.message = f"revision {revision.id} failed, and {_left_of(revision)}: {said.message}"
        said.details.update(facts)
        return said


def _failed_revision(revision: Revision, why: str, facts: Mapping[str, object], resume: str) -> Conflict:
    return Conflict(
        "db.revision_failed",
        f"revision {revision.id} failed, and {_left_of(revision)}: {why}",
        hint=resume,
        details={**facts},
    )


def _left_of(revision: Revision) -> str:
    return "nothing of it is left" if revision.transactional else "it runs without a transaction"


def failed_within(error: Exception, revision: Revision) -> Exception:
    """Return the error for a revision that failed in a larger transaction; what a lock did stays what it is."""
    facts: dict[str, object] = {"revision": revision.id, "applied": []}
    if isinstance(error, DBAPIError):
        if getattr(error.orig, "sqlstate", None) in _BUSY or error.connection_invalidated:
            return error
        facts["sqlstate"] = getattr(error.orig, "sqlstate", None)
    own = diagnostics_of(driver_error(error)) if isinstance(error, DBAPIError) else Diagnostics(None, _said(error))
    return Conflict(
        "db.revision_failed",
        f"revision {revision.id} failed, and nothing was done: {own.text}",
        hint=own.advice("mend the revision, then run the command again"),
        details=facts,
    )


def _said(error: Exception) -> str:
    """What code of a revision's own raised: its kind says more than its text alone."""
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def _busy(
    what: str, sqlstate: str | None, holders: tuple[LockSession, ...], facts: Mapping[str, object]
) -> BackendUnavailable:
    return BackendUnavailable(
        "postgres.busy",
        f"a table that {what} needs stayed locked by {_named(holders)}",
        hint="end what holds it, then run the command again",
        details={**facts, "sqlstate": sqlstate, "blockers": [_details(holder) for holder in holders]},
    )


def _details(session: LockSession) -> dict[str, object]:
    return {
        "pid": session.pid,
        "application": session.application,
        "user": session.user,
        "seconds": session.age_seconds,
    }


def _named(sessions: tuple[LockSession, ...]) -> str:
    shown = ", ".join(session.text for session in sessions[:_SHOWN_HOLDERS])
    more = len(sessions) - _SHOWN_HOLDERS
    return (f"{shown} and {more} more" if more > 0 else shown) or "another session"


def _of_the_database(raised: BaseException) -> DBAPIError | psycopg.Error:
    """The error that came first: a connection that broke outside a transaction brings another one while it ends."""
    found: BaseException | None = raised
    while found is not None and not isinstance(found, (DBAPIError, psycopg.Error)):
        found = found.__cause__ or found.__context__
    if found is None:
        raise raised
    return found


@contextmanager
def migrating(
    target: Target,
    url: Secret,
    *,
    lock_wait: float,
    lock_timeout: float,
    statement_timeout: float,
    settings: Mapping[str, str],
    notify: Callable[[str], None],
    name: str,
) -> Generator[MigratingSession]:
    """Open the connection and hold the migration lock for the block.

    Parameters: times as of `MigratingSession`; `settings` are set for the session; `name` is what others see of it.
    Raises: Refused `db.transaction_pooler`; BackendUnavailable `postgres.read_only`, `db.lock_timeout`; as `translate`
    says.
    """
    limit = {STATEMENT_TIMEOUT: f"{statement_timeout}s"}

    def waiting(who: str) -> None:
        notify(f"Waiting for {who}")

    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: open_to_migrate(url, name, {**settings, **limit}),
        poolclass=NullPool,
        hide_parameters=True,
    )
    try:
        with (
            _writable(engine.connect(), target) as connection,
            migration_lock(driver_of(connection), lock_wait, waiting) as lock,
        ):
            yield MigratingSession(target, connection, lock, lock_timeout, lock_wait, statement_timeout, notify)
    except (DBAPIError, psycopg.Error) as error:
        raise translate(driver_error(error), target, own_timeout=statement_timeout) from error


@contextmanager
def _writable(connection: Connection, target: Target) -> Generator[Connection]:
    """Close the connection after the block. Raises: BackendUnavailable `postgres.read_only` before anything is done."""
    with connection:
        driver = driver_of(connection)
        with driver.transaction():
            refuse_read_only(driver, target)
        yield connection
