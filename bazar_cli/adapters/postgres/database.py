"""The one way to Postgres: transactions that open only for a Grant.

A connection is in autocommit mode, prepares no statement and has no session state, so it works through a transaction
pooler. The text that opens a transaction also sets its limits (`connections.begin`).
"""

from __future__ import annotations

import select
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import psycopg

from bazar_cli.adapters.postgres.connections import Connection, begin, connect
from bazar_cli.domain.authz.spec import Grant, Sealed

if TYPE_CHECKING:
    from uuid import UUID

    from typing_extensions import LiteralString

    from bazar_cli.domain.secrets import Secret
    from bazar_cli.domain.target import Target

OPTIONS: dict[str, Any] = {
    "autocommit": True,
    "prepare_threshold": None,
    "connect_timeout": 10,
    "application_name": "bazar",
}
"""Options of every connection that a Database uses: a transaction pooler keeps no prepared statements."""
_PARTLY_DONE = "a part of it is done already: run the same command again, and it continues where this one stopped"


class Connections(Protocol):
    """Lends connections in autocommit mode, each to one transaction at a time."""

    def lent(self) -> AbstractContextManager[Connection]:
        """Lend a connection for the block. Raises: psycopg.Error; BackendUnavailable where none is free."""
        ...

    def close(self) -> None:
        """Close what only this use case used."""
        ...


class Database:
    """Postgres as one use case sees it.

    `read` and `transaction` demand the gate's Grant. Errors of the database arrive as domain errors
    (`adapters.postgres.errors`); repositories catch the conflicts that they know.
    Parameters: `connections` are those of a server; a command has one connection of its own. `row_wait` limits each
    wait for a locked row or table, in seconds; by default as for a command.
    """

    def __init__(self, target: Target, connections: Connections | None = None, row_wait: float | None = None) -> None:
        self.commits = 0
        """How many transactions that write were committed."""
        self._target = target
        self._connections = connections or _OneConnection(target.database_url)
        self._row_wait = row_wait
        self._added: Callable[[Connection], None] | None = None

    @contextmanager
    def read(self, grant: Grant) -> Generator[Connection]:
        """Open a read-only transaction with one snapshot for all its queries; by bootstrap, with one for each.

        Raises: Sealed without a Grant; BackendUnavailable, Conflict as `translate` says.
        """
        _demand(grant)
        # By bootstrap the tables may be missing; otherwise the operator was found in them.
        with self._transaction(self._begin(read_only=True, snapshot=not grant.bootstrap)) as connection:
            yield connection

    @contextmanager
    def transaction(self, grant: Grant, *, finishing: bool = False) -> Generator[Connection]:
        """Open a transaction that commits at the end of the block; a dry run's is always rolled back.

        It first locks what the Grant rests on, of the operator and their plan, and compares it with the Grant; each
        role when a row rule asks for it (`adapters.postgres.operator_rights`). So rights that were taken away after
        the gate read them count at once. With `finishing` it does not: what was rightly begun in the other system is
        finished.

        Raises: Sealed without a Grant that writes; RightsChanged; as `translate` says, with a hint, when `finishing`,
        that a part is done.
        """
        _demand(grant)
        if not grant.spec.writes:
            raise Sealed(f"{grant.spec.name} reads, and asked for a transaction that writes")
        opening = self._begin(read_only=False)
        with self._transaction(opening, commit=not grant.dry_run, finishing=finishing) as connection:
            if grant.bootstrap or finishing:
                yield connection
            else:
                from bazar_cli.adapters.postgres import operator_rights

                operator_rights.hold_operator(connection, grant)
                with grant.keeping_roles(operator_rights.role_keeper(connection, grant)):
                    yield connection
                if self._added is not None:
                    self._added(connection)
        self.commits += not grant.dry_run
        self._added = None

    def add_to_intent(self, act: Callable[[Connection], None]) -> None:
        """Call `act` at the end of the next transaction that writes and commits. An error of it rolls that back."""
        self._added = act

    @contextmanager
    def preparation(self, grant: Grant) -> Generator[tuple[Connection, Callable[[Iterable[UUID]], None]]]:
        """Open a transaction that commits as `transaction` does, and first fills temporary tables for a long time.

        It lends a function that locks what the Grant rests on, and the operator's roles in the given organizations. It
        is called before the first write to a table that lasts, so that preparing holds no lock.
        Raises: as `transaction`; RightsChanged from the function.
        """
        _demand(grant)
        if not grant.spec.writes:
            raise Sealed(f"{grant.spec.name} reads, and asked for a transaction that writes")
        with self._transaction(self._begin(read_only=False), commit=not grant.dry_run) as connection:

            def hold(organizations: Iterable[UUID]) -> None:
                from bazar_cli.adapters.postgres import operator_rights

                operator_rights.hold_operator(connection, grant)
                keep = operator_rights.role_keeper(connection, grant)
                for organization_id in sorted(organizations):
                    keep(organization_id, grant.operator.role_in(organization_id))

            yield connection, hold
        self.commits += not grant.dry_run

    def connect_for_gate(self, *, writes: bool = False) -> AbstractContextManager[Connection]:
        """Open a transaction without a Grant: for `adapters.postgres.gate` alone (a test proves it)."""
        return self._transaction(self._begin(read_only=not writes))

    def close(self) -> None:
        """Close the connection of this command; the object can be used again."""
        self._connections.close()

    def _begin(self, *, read_only: bool, snapshot: bool = False) -> LiteralString:
        return begin(read_only=read_only, snapshot=snapshot, lock_seconds=self._row_wait)

    @contextmanager
    def _transaction(
        self, opening: LiteralString, *, commit: bool = True, finishing: bool = False
    ) -> Generator[Connection]:
        try:
            with self._connections.lent() as connection:
                try:
                    connection.execute(opening)
                    yield connection
                except BaseException:  # Ctrl-C too rolls back
                    _roll_back(connection)
                    raise
                if commit:
                    connection.commit()
                else:
                    connection.rollback()
        except psycopg.Error as error:
            from bazar_cli.adapters.postgres.errors import translate

            translated = translate(error, self._target)
            if finishing:
                translated.hint = f"{_PARTLY_DONE}; {translated.hint}"
            raise translated from error


class _OneConnection:
    """The connection of one command: opened for its first transaction, and again after the server has ended it."""

    def __init__(self, url: Secret) -> None:
        self._url = url
        self._opened: Connection | None = None

    def lent(self) -> AbstractContextManager[Connection]:
        if self._opened is None or self._opened.closed or ended_while_idle(self._opened):
            self.close()
            self._opened = connect(self._url, **OPTIONS)
        return nullcontext(self._opened)

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None


def _roll_back(connection: Connection) -> None:
    """Roll back, or close a connection that cannot: then the server does."""
    try:
        connection.rollback()
    except psycopg.Error:
        connection.close()


def ended_while_idle(connection: Connection) -> bool:
    """Return whether the server sent data between two transactions. Nearly always it says that the session ended.

    A command waits seconds for Supabase between two transactions. A session that ended meanwhile lost nothing, so
    a new one replaces it. A look at the socket costs no round trip.
    """
    watch = select.poll()
    watch.register(connection.fileno(), select.POLLIN)
    return bool(watch.poll(0))


def _demand(grant: Grant) -> None:
    # A caller may hand over anything at run time; the type alone guards nothing.
    if type(grant) is not Grant:
        raise Sealed("Postgres was asked for without a Grant")
