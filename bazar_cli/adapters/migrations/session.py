"""The connection that migrates, and one revision on it: under the lock, tried again while a table is locked."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import psycopg
from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.exc import DBAPIError, PendingRollbackError

from bazar_cli.adapters.migrations.blockers import BlockerWatch, named
from bazar_cli.adapters.migrations.connection import open_to_migrate
from bazar_cli.adapters.migrations.lock import LockWait, migration_lock
from bazar_cli.adapters.postgres.errors import translate
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict

if TYPE_CHECKING:
    from bazar_cli.domain.db import Revision
    from bazar_cli.domain.secrets import Secret
    from bazar_cli.domain.target import Target

RETRIES = 10
_RESUME = "mend what it says, then run `bazar db migrate`: it goes on from there"
_RETRY_PAUSE_SECONDS = (0.2, 1.5)
_LOCK_NOT_AVAILABLE = "55P03"
_BUSY = frozenset({_LOCK_NOT_AVAILABLE, "40P01"})
_OF_THE_REVISION = frozenset({"postgres.unexpected", "db.not_migrated"})
"""Errors of a statement that mean something else in a command than in a revision."""


class MigratingSession:
    """A connection that holds the migration lock.

    Parameters: `lock_timeout` is how long a statement waits for a table, `lock_wait` how long one does that is
    alone in its revision and harms nobody by waiting; both in seconds.
    """

    def __init__(
        self,
        target: Target,
        url: Secret,
        connection: Connection,
        lock: LockWait,
        lock_timeout: float,
        lock_wait: float,
        notify: Callable[[str], None],
    ) -> None:
        self.connection = connection
        self.lock = lock
        self._target = target
        self._url = url
        self._lock_timeout = lock_timeout
        self._lock_wait = lock_wait
        self._notify = notify

    @property
    def driver(self) -> psycopg.Connection:
        """The same connection without SQLAlchemy."""
        return cast("psycopg.Connection", self.connection.connection.driver_connection)

    def run(self, revision: Revision, move: Callable[[], None], done: list[str], resume: str = _RESUME) -> int:
        """Move the database over one revision; return how often a lock made it start again.

        Parameters: `done` names the revisions that this run has moved over, and `resume` says how to go on, for errors.
        Raises: BackendUnavailable `db.lock_lost`, `postgres.busy`; Conflict `db.revision_failed`; as `translate` says.
        """
        patience = self._lock_timeout if revision.transactional else max(self._lock_wait, self._lock_timeout)

        def failed(error: DBAPIError | psycopg.Error, sqlstate: str | None) -> BazarError:
            return self._failed(error, sqlstate, revision, done, resume)

        # What runs without a transaction may have left half of itself: that is for the next run to look at.
        again = revision.transactional
        return self._try(revision.id, move, {"revision": revision.id, "applied": done}, patience, failed, again=again)

    def run_whole(self, what: str, move: Callable[[], None]) -> int:
        """Do something in one transaction of its own; return how often a lock made it start again.

        Parameters: `what` names it, at the start of a sentence. Raises: BackendUnavailable `db.lock_lost`,
        `postgres.busy`; as `translate` says, and what `move` raises.
        """
        facts = dict[str, object]()
        return self._try(what, move, facts, self._lock_timeout, lambda error, _: translate(error, self._target))

    def _try(
        self,
        what: str,
        move: Callable[[], None],
        facts: Mapping[str, object],
        patience: float,
        failed: Callable[[DBAPIError | psycopg.Error, str | None], BazarError],
        *,
        again: bool = True,
    ) -> int:
        for attempt in range(RETRIES + 1):
            self.lock.check(patience)
            watch = BlockerWatch(self._url, self.lock.pid, patience, lambda who: self._notify(f"Waiting for {who}"))
            try:
                with watch:
                    move()
            except (DBAPIError, PendingRollbackError, psycopg.Error) as raised:
                error = _of_the_database(raised)
                self.connection.rollback()
                sqlstate = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)
                if sqlstate in _BUSY and again and attempt < RETRIES:
                    self._notify(f"{what} waited too long for {named(watch.found)}; trying again")
                    time.sleep(random.uniform(*_RETRY_PAUSE_SECONDS))  # noqa: S311 - jitter, no secret
                    continue
                if sqlstate in _BUSY:
                    raise _busy(what, sqlstate, watch, facts) from raised
                raise failed(error, sqlstate) from raised
            return attempt
        raise AssertionError("the last attempt returns or raises")

    def _failed(
        self,
        error: DBAPIError | psycopg.Error,
        sqlstate: str | None,
        revision: Revision,
        done: list[str],
        resume: str,
    ) -> BazarError:
        facts = {"revision": revision.id, "sqlstate": sqlstate, "applied": done}
        said = translate(error, self._target)
        if said.code in _OF_THE_REVISION:
            left = "nothing of it is left" if revision.transactional else "it runs without a transaction"
            return Conflict(
                "db.revision_failed",
                f"revision {revision.id} failed, and {left}: {first_line(error)}",
                hint=resume,
                details=facts,
            )
        said.details.update(facts)
        return said


def first_line(error: DBAPIError | psycopg.Error) -> str:
    """Return the server's sentence about an error."""
    return str(error.orig if isinstance(error, DBAPIError) else error).strip().partition("\n")[0]


def failed_within(error: DBAPIError, revision: Revision) -> Exception:
    """Return the error for a revision that failed in a larger transaction; what a lock did stays what it is."""
    if getattr(error.orig, "sqlstate", None) in _BUSY or error.connection_invalidated:
        return error
    return Conflict(
        "db.revision_failed",
        f"revision {revision.id} failed, and nothing was done: {first_line(error)}",
        hint="mend the revision, then run the command again",
        details={"revision": revision.id, "sqlstate": getattr(error.orig, "sqlstate", None), "applied": []},
    )


def _busy(what: str, sqlstate: str | None, watch: BlockerWatch, facts: Mapping[str, object]) -> BackendUnavailable:
    return BackendUnavailable(
        "postgres.busy",
        f"a table that {what} needs stayed locked by {named(watch.found)}",
        hint="end what holds it, then run the command again",
        details={**facts, "sqlstate": sqlstate, "blockers": [blocker.details for blocker in watch.found]},
    )


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
    settings: Mapping[str, str],
    notify: Callable[[str], None],
    name: str,
) -> Generator[MigratingSession]:
    """Open the connection and hold the migration lock for the block.

    Parameters: `settings` are set for the session; `name` is what others see of it. Raises: Refused
    `db.transaction_pooler`; BackendUnavailable `db.lock_timeout`; as `translate` says.
    """

    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: open_to_migrate(url, name, settings),
        poolclass=NullPool,
        hide_parameters=True,
    )
    try:
        with (
            engine.connect() as connection,
            migration_lock(connection, lock_wait, lambda holder: notify(f"Waiting for {holder}")) as lock,
        ):
            yield MigratingSession(target, url, connection, lock, lock_timeout, lock_wait, notify)
    except DBAPIError as error:
        raise translate(error, target) from error
