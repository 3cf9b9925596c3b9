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
from bazar_cli.domain.access import Grant, Operator, Role, Sealed
from bazar_cli.domain.errors import BackendUnavailable, Conflict

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from bazar_cli.domain.target import Target

CONNECT_SECONDS = 10
_PARTLY_DONE = "a part of it is done already: run the same command again, and it goes on where this one stopped"

# What the plan must still have is locked row by row, not counted: a count would be that of before the wait.
_RIGHTS_NOW = """
    WITH operator AS (SELECT plan, state, pending, is_superuser FROM bazar.users WHERE id = :id FOR SHARE),
         kept AS (SELECT permission FROM bazar.plan_permissions
                  WHERE plan = :plan AND permission = ANY(:permissions) FOR KEY SHARE)
    SELECT o.*, ARRAY(SELECT permission FROM kept) AS permissions FROM operator o
"""
# A statement of its own: in one with the row above it would show the roles of before the wait for that row.
_ROLES_NOW = "SELECT organization_id, role FROM bazar.memberships WHERE user_id = :id FOR SHARE"


class Database:
    """Postgres as one command sees it.

    `read` and `transaction` demand the gate's Grant. Errors of the database arrive as domain errors
    (`adapters.postgres.errors`), except IntegrityError, which the repositories turn into the conflict it is.
    """

    def __init__(self, target: Target) -> None:
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

        The operator's row and roles, and what the Grant rests on of their plan, are locked and compared with it
        first, so that rights taken away since the gate looked count at once; not so when `finishing` what was
        rightly begun at the other system.

        Raises: Sealed without a Grant that writes; Conflict `access.changed`; and as `translate` says, whose hint
        tells, when `finishing`, that a part is done.
        """
        _demand(grant)
        if not grant.spec.writes:
            raise Sealed(f"{grant.spec.name} reads, and asked for a transaction that writes")
        try:
            with self._begin(begin(read_only=False), commit=not grant.dry_run) as connection:
                if not grant.bootstrap and not finishing:
                    check_kept(connection, grant)
                yield connection
        except BackendUnavailable as error:
            if finishing:
                error.hint = f"{_PARTLY_DONE}; {error.hint}"
            raise

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
    def _begin(self, opening: str, *, commit: bool = True) -> Generator[Connection]:
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
            raise translate(error, self._target) from error
        except psycopg.Error as error:
            raise translate(error, self._target) from error

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


def check_kept(connection: Connection, grant: Grant) -> None:
    """Lock the operator's row and roles, and make sure that the Grant's ground is still there.

    Raises: Conflict `access.changed`.
    """
    from sqlalchemy import text

    operator = grant.operator
    needed = {permission.value for permission in grant.permissions}
    given = {"id": operator.id, "plan": operator.plan.value, "permissions": sorted(needed)}
    row = connection.execute(text(_RIGHTS_NOW), given).one_or_none()
    # What was gained meanwhile, such as an organization that another command made, takes nothing away.
    kept = row is not None and (
        (row.plan, row.state) == (operator.plan.value, operator.state.value)
        and (row.pending is None or row.pending == (operator.pending and operator.pending.value))
        and row.is_superuser >= operator.is_superuser
        and needed <= set(row.permissions)
        and _keeps_roles(connection, operator)
    )
    if not kept:
        raise Conflict(
            "access.changed",
            f"the rights of {operator.email} changed while the command ran; nothing was written",
            hint="run it again",
        )


def _keeps_roles(connection: Connection, operator: Operator) -> bool:
    from sqlalchemy import text

    if not operator.memberships:
        return True
    rows = connection.execute(text(_ROLES_NOW), {"id": operator.id}).all()
    ranks = {row.organization_id: Role(row.role).rank for row in rows}
    return all(ranks.get(m.organization_id, 0) >= m.role.rank for m in operator.memberships)
