"""The server of a target's database, which creates and drops it over a maintenance database."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from bazar_cli.adapters.polling import poll
from bazar_cli.adapters.postgres.connections import (
    MAINTENANCE,
    Connection,
    begin,
    connect,
    database_of,
    has_database,
    maintenance,
)
from bazar_cli.adapters.postgres.errors import translate
from bazar_cli.adapters.postgres.settings import refuse_read_only
from bazar_cli.domain.db.migrations import Marker
from bazar_cli.domain.errors import BackendUnavailable, Conflict

if TYPE_CHECKING:
    from psycopg.rows import TupleRow

    from bazar_cli.domain.target import Target

_EXISTS = frozenset({"42P04", "23505"})
"""The second one when two sessions create it at the same moment."""
_ABSENT = "3D000"
_IN_USE = "55006"
_NO_PRIVILEGE = "42501"


@dataclass(frozen=True)
class Session:
    """A session in the database."""

    pid: int
    application: str
    user: str


class Server:
    """The server of one target, over DATABASE_MIGRATION_URL if it is set: a pooler may offer no other database."""

    def __init__(self, target: Target) -> None:
        self._target = target.to_migrate
        self._url = self._target.database_url
        self.database = database_of(self._url)
        self.host = str(conninfo_to_dict(self._url.reveal()).get("host") or "localhost")

    @property
    def is_maintenance_database(self) -> bool:
        """Whether the server itself needs the database, such as `postgres`."""
        return self.database in {*MAINTENANCE, "template0"}

    def exists(self) -> bool:
        """Return whether the database exists. Raises: as `translate` says."""
        with self._maintenance() as connection:
            return has_database(connection, self.database)

    def create(self) -> bool:
        """Create the database; return False if it existed, or another run was faster.

        Raises: Conflict `db.may_not_create`; BackendUnavailable `postgres.busy`; as `translate` says.
        """
        with self._maintenance() as connection:
            if has_database(connection, self.database):
                return False
            try:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.database)))
            except psycopg.Error as error:
                if error.sqlstate in _EXISTS:
                    return False
                if error.sqlstate == _IN_USE:
                    raise _busy(f"the template that {self.database} is copied from is in use") from error
                if error.sqlstate == _NO_PRIVILEGE:
                    raise Conflict(
                        "db.may_not_create",
                        f"the database user may not create {self.database}",
                        hint=f"give the role of {self._target.database_variable} the attribute CREATEDB, or let the"
                        " server's owner do it",
                        details={"database": self.database},
                    ) from error
                raise
            return True

    def marker(self) -> tuple[UUID, Marker] | None:
        """Return the marker of the database, with its id. Raises: as `translate` says."""
        with self._database() as connection:
            row = connection.execute("SELECT id, environment, protected FROM bazar.deployment").fetchone()
            return None if row is None else (row[0], Marker(row[1], row[2]))

    def refuse_read_only(self) -> None:
        """Check that the database takes writes: its settings do not hold in the database from which it is dropped.

        Raises: BackendUnavailable `postgres.read_only`; as `translate` says.
        """
        with self._database() as connection:
            refuse_read_only(connection, self._target)

    def sessions(self) -> tuple[Session, ...]:
        """Return the sessions in the database, without the server's own workers.

        A client that has closed its connection is listed until its session has ended, so sessions get a second to end.
        """
        found: list[TupleRow] = []
        with self._maintenance() as connection:

            def is_empty() -> bool:
                found[:] = connection.execute(
                    "SELECT pid, application_name, usename FROM pg_stat_activity"
                    " WHERE datname = %s AND backend_type = 'client backend' ORDER BY pid",
                    (self.database,),
                ).fetchall()
                return not found

            poll(is_empty, seconds=1, pause=0.05)
        return tuple(Session(row[0], row[1] or "no name", row[2] or "unknown") for row in found)

    def drop(self) -> None:
        """Drop the database, if it still exists.

        Raises: Conflict `db.may_not_drop`; BackendUnavailable `postgres.busy` if a session has connected.
        """
        with self._maintenance() as connection:
            try:
                connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(self.database)))
            except psycopg.Error as error:
                if error.sqlstate == _ABSENT:
                    return
                if error.sqlstate == _IN_USE:
                    raise _busy(f"another session has connected to {self.database} meanwhile") from error
                if error.sqlstate == _NO_PRIVILEGE:
                    raise Conflict(
                        "db.may_not_drop",
                        f"the database user does not own {self.database}",
                        hint="let its owner drop it",
                        details={"database": self.database},
                    ) from error
                raise

    @contextmanager
    def _database(self) -> Generator[Connection]:
        try:
            with connect(self._url, connect_timeout=10, prepare_threshold=None, autocommit=True) as connection:
                connection.execute(begin(read_only=True))
                yield connection
        except psycopg.Error as error:
            raise translate(error, self._target) from error

    @contextmanager
    def _maintenance(self) -> Generator[Connection]:
        try:
            with maintenance(self._url) as connection:
                yield connection
        except psycopg.Error as error:
            raise translate(error, self._target) from error


def _busy(what: str) -> BackendUnavailable:
    return BackendUnavailable("postgres.busy", f"{what}; nothing was done", hint="run it again")
