"""The one way to Postgres: connections that open only for a Grant.

One connection serves a command. It is never left inside a transaction, prepares no statement and sets no
session state, so that it works through a transaction pooler. It is opened by psycopg, which the gate uses as it is;
SQLAlchemy, whose import takes longer than all that the gate does, comes with the first use case that needs it.
"""

from __future__ import annotations

import select
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg

from bazar_cli.adapters.postgres.connections import begin, connect
from bazar_cli.adapters.postgres.errors import translate
from bazar_cli.adapters.postgres.settings import refuse_read_only
from bazar_cli.domain.authz.spec import Grant, Sealed
from bazar_cli.domain.errors import BazarError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.exc import DBAPIError

    from bazar_cli.domain.target import Target

CONNECT_SECONDS = 10
_PARTLY_DONE = "a part of it is done already: run the same command again, and it goes on where this one stopped"


class Database:
    """Postgres as one command sees it.

    `read` and `transaction` demand the gate's Grant. Errors of the database arrive as domain errors
    (`adapters.postgres.errors`), except IntegrityError, which the repositories turn into the conflict it is.
    """

    def __init__(self, target: Target) -> None:
        self.commits = 0
        """How many transactions that write were committed."""
        self._target = target
        self._engine: Engine | None = None
        self._driver: psycopg.Connection | None = None
        self._connection: Connection | None = None
        """The same connection by SQLAlchemy."""

    @contextmanager
    def read(self, grant: Grant) -> Generator[Connection]:
        """Open a read-only transaction with one snapshot for all its queries; by bootstrap, with one for each.

        Raises: Sealed without a Grant; BackendUnavailable, Conflict as `translate` says.
        """
        _demand(grant)
        # By bootstrap the tables may be missing; otherwise the operator was found in them.
        with self._begin(begin(read_only=True, snapshot=not grant.bootstrap)) as connection:
            yield connection

    @contextmanager
    def transaction(self, grant: Grant, *, finishing: bool = False) -> Generator[Connection]:
        """Open a transaction that commits at the end of the block; a dry run's is always rolled back.

        What the Grant rests on of the operator and their plan is locked and compared with it first, each of their
        roles when a row rule asks for it (`adapters.postgres.rights`), so that rights taken away since the gate
        looked count at once; not so when `finishing` what was rightly begun at the other system.

        Raises: Sealed without a Grant that writes; RightsChanged; and as `translate` says, whose hint tells, when
        `finishing`, that a part is done.
        """
        _demand(grant)
        if not grant.spec.writes:
            raise Sealed(f"{grant.spec.name} reads, and asked for a transaction that writes")
        with self._begin(begin(read_only=False), commit=not grant.dry_run, finishing=finishing) as connection:
            if grant.bootstrap or finishing:
                yield connection
            else:
                from bazar_cli.adapters.postgres import rights

                rights.hold_operator(connection, grant)
                with grant.keeping_roles(rights.role_keeper(connection, grant)):
                    yield connection
        self.commits += not grant.dry_run

    @contextmanager
    def connect_for_gate(self, *, writes: bool = False) -> Generator[psycopg.Connection]:
        """Open a transaction without a Grant: for `adapters.postgres.gate` alone (a test proves it)."""
        try:
            driver = self._open()
            try:
                driver.execute(begin(read_only=not writes).encode())
                yield driver
                driver.commit()
            except BaseException:  # Ctrl-C too rolls back
                if not driver.closed:
                    driver.rollback()
                raise
        except psycopg.Error as error:
            if self._driver is not None and self._driver.closed:
                self.close()
            raise translate(error, self._target) from error

    def refuse_read_only(self, grant: Grant) -> None:
        """See that the database takes writes, in a `read` before something that nothing takes back.

        Raises: Sealed without a Grant; BackendUnavailable `postgres.read_only`; psycopg.Error.
        """
        _demand(grant)
        refuse_read_only(self._open(), self._target)

    def close(self) -> None:
        """Close the connection; the object can be used again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._driver is not None:
            self._driver.close()
            self._driver = None

    @contextmanager
    def _begin(self, opening: str, *, commit: bool = True, finishing: bool = False) -> Generator[Connection]:
        from sqlalchemy.exc import DBAPIError

        try:
            connection = self._connect()
            transaction = connection.begin()
            try:
                connection.exec_driver_sql(opening)
                yield connection
            except BaseException:  # Ctrl-C too rolls back
                transaction.rollback()
                raise
            if commit:
                transaction.commit()
            else:
                transaction.rollback()
        except DBAPIError as error:
            if error.connection_invalidated:
                self.close()
            raise self._translated(error, finishing=finishing) from error
        except psycopg.Error as error:
            raise self._translated(error, finishing=finishing) from error

    def _translated(self, error: DBAPIError | psycopg.Error, *, finishing: bool) -> BazarError:
        said = translate(error, self._target)
        if finishing:
            said.hint = f"{_PARTLY_DONE}; {said.hint}"
        return said

    def _connect(self) -> Connection:
        driver = self._open()
        if self._connection is not None:
            return self._connection
        from sqlalchemy import NullPool, create_engine

        if self._engine is None:
            self._engine = create_engine(
                "postgresql+psycopg://",
                creator=self._open,
                poolclass=NullPool,
                pool_reset_on_return=None,
                use_native_hstore=False,
                hide_parameters=True,
            )
        self._connection = self._engine.connect()
        assert self._connection.connection.driver_connection is driver, "both ways are one connection"
        return self._connection

    def _open(self) -> psycopg.Connection:
        """The connection, in autocommit mode: what opens a transaction also limits it, see `begin`."""
        if self._driver is not None:
            lost = self._connection is not None and (self._connection.closed or self._connection.invalidated)
            if not (lost or self._driver.closed or _ended_while_idle(self._driver)):
                return self._driver
            self.close()
        self._driver = connect(
            self._target.database_url,
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=CONNECT_SECONDS,
            application_name="bazar",
        )
        return self._driver


def _ended_while_idle(driver: psycopg.Connection) -> bool:
    """Whether the server said anything between two transactions: as good as always, that it ended the session.

    A command waits seconds for Supabase between two transactions. A backend that ended meanwhile took nothing
    with it, so another session goes on. Looking at the socket costs no round trip.
    """
    watch = select.poll()
    watch.register(driver.fileno(), select.POLLIN)
    return bool(watch.poll(0))


def _demand(grant: Grant) -> None:
    # A caller may hand over anything at run time; the type alone guards nothing.
    if type(grant) is not Grant:
        raise Sealed("Postgres was asked for without a Grant")
