"""The session that migrates: it holds the migration lock, and runs a revision again if a lock stopped it."""

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

from bazar_cli.adapters.migrations.blockers import Blockers, named
from bazar_cli.adapters.migrations.connection import driver_error, driver_of, open_to_migrate
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
_RESUME = "correct the cause, then run `bazar db migrate`: it continues with this revision"
_RETRY_PAUSE_SECONDS = (0.2, 1.5)
_LOCK_NOT_AVAILABLE = "55P03"
_BUSY = frozenset({_LOCK_NOT_AVAILABLE, "40P01"})
_DATABASE_ERRORS = (DBAPIError, PendingRollbackError, psycopg.Error)
_CODES_OF_REVISIONS = frozenset({"postgres.unexpected", "postgres.rejected", "db.not_migrated"})
"""Error codes that mean `db.revision_failed` if they come from a revision."""
_ROLLED_BACK = frozenset({"postgres.busy", "postgres.read_only"})
"""Error codes after which the server has rolled the transaction back."""


@dataclass
class _Attempt:
    """One attempt of something that a lock may stop: the number of earlier ones, and when the first began."""

    number: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def milliseconds(self) -> int:
        """The time since the first attempt."""
        return round((time.monotonic() - self.began) * 1000)


@dataclass
class _Progress:
    """The revisions of one run, and those that are done."""

    revisions: Sequence[Revision]
    before: Sequence[AppliedRevision]
    moved: list[AppliedRevision] = field(default_factory=list["AppliedRevision"])
    attempt: _Attempt = field(default_factory=_Attempt)

    @property
    def left(self) -> Sequence[Revision]:
        return self.revisions[len(self.moved) :]

    def facts(self) -> dict[str, object]:
        """Return the details of an error in the current revision."""
        return {"revision": self.left[0].id, "applied": [m.revision.id for m in (*self.before, *self.moved)]}

    def end_revision(self) -> None:
        self.moved.append(AppliedRevision(self.left[0], self.attempt.milliseconds, self.attempt.number))
        self.attempt = _Attempt()


@dataclass(frozen=True)
class SessionSettings:
    """The limits of a session that migrates, in seconds, and its values for revisions."""

    name: str
    """The name that other sessions see."""
    lock_wait: float
    """How long it waits for the migration lock, and for a table if its revision has no transaction."""
    lock_timeout: float
    """How long a statement waits for a table: other sessions wait behind it."""
    statement_timeout: float
    """How long a statement may take; 0 for no limit."""
    values: Mapping[str, str]
    """Settings of Postgres that revisions read."""


class MigratingSession:
    """A connection that holds the migration lock."""

    def __init__(
        self,
        target: Target,
        connection: Connection,
        lock: LockWait,
        settings: SessionSettings,
        blockers: Blockers,
        notify: Callable[[str], None],
    ) -> None:
        self.connection = connection
        self.lock = lock
        self._target = target
        self._settings = settings
        self._blockers = blockers
        self._notify = notify

    @property
    def driver(self) -> psycopg.Connection:
        """The same connection without SQLAlchemy."""
        return driver_of(self.connection)

    def translate(self, error: DBAPIError | psycopg.Error) -> BazarError:
        """Return the domain error for an error of this session."""
        return translate(driver_error(error), self._target, own_timeout=self._settings.statement_timeout)

    def run(
        self,
        revisions: Sequence[Revision],
        move: Callable[[Iterator[str]], None],
        announce: Callable[[Revision], None],
        resume: str = _RESUME,
        before: Sequence[AppliedRevision] = (),
    ) -> list[AppliedRevision]:
        """Run revisions up or down, each in its own transaction; run one again if a lock stopped it.

        Parameters: `move` takes their names from an iterator and runs each before it asks for the next one; `announce`
        gets each revision before it begins; `resume` is a hint for errors; `before` was applied earlier in this run.
        Raises: BackendUnavailable `db.lock_lost`, `postgres.busy`; Conflict `db.revision_failed`; as `translate` says.
        """
        progress = _Progress(revisions, before)
        while progress.left:
            self._blockers.begin()
            # For Alembic's own statements before its first step.
            self._check(self._patience(progress.left[0]))
            steps = self._names(progress, announce)
            try:
                move(steps)
            except _DATABASE_ERRORS as raised:
                self._wait_for_revision(raised, progress, resume)
            except BazarError:
                raise
            except Exception as raised:  # the code of a revision may raise anything
                if not progress.left:
                    raise
                self._roll_back()
                raise _failed_revision(progress.left[0], _kind_and_text(raised), progress.facts(), resume) from raised
            finally:
                steps.close()
        return progress.moved

    def _names(self, progress: _Progress, announce: Callable[[Revision], None]) -> Generator[str]:
        """Yield the name of each revision that is left, with its transaction open."""
        for revision in progress.left:
            if progress.attempt.number == 0:
                announce(revision)
            # Without a transaction it may wait longer than others do.
            self._blockers.begin(None if revision.transactional else self._notify_wait)
            # Alembic continues in the transaction that this opens.
            self.lock.check(self._patience(revision))
            yield revision.id
            progress.end_revision()

    def _wait_for_revision(self, raised: Exception, progress: _Progress, resume: str) -> None:
        """Wait, if a lock stopped the current revision and it can run again. Raises: as `run`."""
        if not progress.left:
            # Alembic's own statements after its last step.
            raise self.translate(_database_error(raised)) from raised
        revision, facts = progress.left[0], progress.facts()

        def failed(error: DBAPIError | psycopg.Error, sqlstate: str | None) -> BazarError:
            return self._failed(error, revision, {**facts, "sqlstate": sqlstate}, resume)

        # A revision without a transaction may be half done: the next run repairs that.
        self._wait_or_raise(raised, revision.id, progress.attempt, facts, failed, again=revision.transactional)

    def run_in_one_transaction(self, what: str, move: Callable[[], T]) -> T:
        """Call `move` and return its result; call it again when a lock stopped it.

        Parameters: `what` names it, at the start of a sentence. Raises: BackendUnavailable `db.lock_lost`,
        `postgres.busy`; as `translate` says, and what `move` raises.
        """
        attempt = _Attempt()
        while True:
            self._blockers.begin()
            try:
                self._check(self._settings.lock_timeout)
                return move()
            except _DATABASE_ERRORS as raised:
                self._wait_or_raise(raised, what, attempt, {}, lambda error, _: self.translate(error))

    def _patience(self, revision: Revision) -> float:
        settings = self._settings
        return settings.lock_timeout if revision.transactional else max(settings.lock_wait, settings.lock_timeout)

    def _check(self, patience: float) -> None:
        self.lock.check(patience)
        self.driver.commit()

    def _roll_back(self) -> None:
        self.connection.rollback()
        self.lock.roll_back()  # of what began without SQLAlchemy

    def _notify_wait(self, blockers: str) -> None:
        self._notify(f"Waiting for {blockers}")

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
        error = _database_error(raised)
        self._roll_back()
        sqlstate = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)
        if sqlstate not in _BUSY:
            raise failed(error, sqlstate) from raised
        if not again or attempt.number == RETRIES:
            raise _busy(what, sqlstate, self._blockers.found, facts) from raised
        self._notify(f"{what} waited too long for {named(self._blockers.found)}; trying again")
        attempt.number += 1
        time.sleep(random.uniform(*_RETRY_PAUSE_SECONDS))  # noqa: S311 - jitter, no secret

    def _failed(
        self,
        error: DBAPIError | psycopg.Error,
        revision: Revision,
        facts: Mapping[str, object],
        resume: str,
    ) -> BazarError:
        translated = self.translate(error)
        if translated.code in _CODES_OF_REVISIONS:
            own = diagnostics_of(driver_error(error))
            return _failed_revision(revision, own.text, facts, own.advice(resume))
        if translated.code in _ROLLED_BACK:
            translated.message = f"revision {revision.id} failed, and {_what_remains(revision)}: {translated.message}"
        translated.details.update(facts)
        return translated


def _failed_revision(revision: Revision, why: str, facts: Mapping[str, object], resume: str) -> Conflict:
    return Conflict(
        "db.revision_failed",
        f"revision {revision.id} failed, and {_what_remains(revision)}: {why}",
        hint=resume,
        details={**facts},
    )


def _what_remains(revision: Revision) -> str:
    return "nothing of it is left" if revision.transactional else "it runs without a transaction"


def failed_within(error: Exception, revision: Revision) -> Exception:
    """Return the error for a revision that failed in a larger transaction; an error by a lock is returned unchanged."""
    facts: dict[str, object] = {"revision": revision.id, "applied": []}
    if isinstance(error, DBAPIError):
        if getattr(error.orig, "sqlstate", None) in _BUSY or error.connection_invalidated:
            return error
        facts["sqlstate"] = getattr(error.orig, "sqlstate", None)
    own = (
        diagnostics_of(driver_error(error))
        if isinstance(error, DBAPIError)
        else Diagnostics(None, _kind_and_text(error))
    )
    return Conflict(
        "db.revision_failed",
        f"revision {revision.id} failed, and nothing was done: {own.text}",
        hint=own.advice("correct the revision, then run the command again"),
        details=facts,
    )


def _kind_and_text(error: Exception) -> str:
    """The kind of an error and the first line of its text."""
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def _busy(
    what: str, sqlstate: str | None, blockers: tuple[LockSession, ...], facts: Mapping[str, object]
) -> BackendUnavailable:
    return BackendUnavailable(
        "postgres.busy",
        f"a table that {what} needs stayed locked by {named(blockers)}",
        hint="end what holds it, then run the command again",
        details={**facts, "sqlstate": sqlstate, "blockers": [_details(session) for session in blockers]},
    )


def _details(session: LockSession) -> dict[str, object]:
    return {
        "pid": session.pid,
        "application": session.application,
        "user": session.user,
        "seconds": session.age_seconds,
    }


def _database_error(raised: BaseException) -> DBAPIError | psycopg.Error:
    """The first error of a chain: a connection that breaks outside a transaction raises another one when it ends."""
    found: BaseException | None = raised
    while found is not None and not isinstance(found, (DBAPIError, psycopg.Error)):
        found = found.__cause__ or found.__context__
    if found is None:
        raise raised
    return found


@contextmanager
def migrating(
    target: Target, url: Secret, settings: SessionSettings, notify: Callable[[str], None]
) -> Generator[MigratingSession]:
    """Open the connection and hold the migration lock for the block.

    Raises: Refused `db.transaction_pooler`; BackendUnavailable `postgres.read_only`, `db.lock_timeout`; as `translate`
    says.
    """
    values = {**settings.values, STATEMENT_TIMEOUT: f"{settings.statement_timeout}s"}

    def waiting(holder: str) -> None:
        notify(f"Waiting for {holder}")

    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: open_to_migrate(url, settings.name, values),
        poolclass=NullPool,
        hide_parameters=True,
    )
    try:
        with (
            _writable(engine.connect(), target) as connection,
            migration_lock(driver_of(connection), settings.lock_wait, waiting) as lock,
            Blockers(url, lock.pid, settings.lock_timeout) as blockers,
        ):
            yield MigratingSession(target, connection, lock, settings, blockers, notify)
    except (DBAPIError, psycopg.Error) as error:
        raise translate(driver_error(error), target, own_timeout=settings.statement_timeout) from error


@contextmanager
def _writable(connection: Connection, target: Target) -> Generator[Connection]:
    """Close the connection after the block. Raises: BackendUnavailable `postgres.read_only`, before the block."""
    with connection:
        driver = driver_of(connection)
        with driver.transaction():
            refuse_read_only(driver, target)
        yield connection
