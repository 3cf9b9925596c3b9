"""bazar's migrations on one target: what is applied, and applying what is not.

Reading the status imports neither SQLAlchemy nor Alembic.
"""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from bazar_cli.adapters.migrations.location import applied_by, revisions, script_location
from bazar_cli.adapters.postgres.connections import connect
from bazar_cli.adapters.postgres.errors import translate
from bazar_cli.adapters.postgres.probe import is_absent
from bazar_cli.domain.db import (
    LOCAL,
    PRODUCTION,
    AppliedRevision,
    Marker,
    Migrate,
    Migrated,
    MigrationStatus,
    Place,
    Revision,
    no_database,
)
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, Refused, UsageError
from bazar_cli.domain.target import TargetKind

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from bazar_cli.domain.target import Target

_TRANSACTION_POOLER_PORT = "6543"
_RETRIES = 10
_RETRY_PAUSE_SECONDS = (0.2, 1.5)
_LOCK_NOT_AVAILABLE = "55P03"
_DEADLOCK = "40P01"
_MARK = """
    INSERT INTO bazar.deployment (id, environment, protected)
    VALUES (gen_random_uuid(), current_setting('bazar.environment'), current_setting('bazar.protected')::boolean)
    ON CONFLICT DO NOTHING
"""


class Migrator:
    """The migrations of one target, over DATABASE_MIGRATION_URL where it is set."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._url = target.migration_url or target.database_url
        self._location = script_location()
        self._revisions = revisions(self._location)

    def status(self) -> MigrationStatus:
        """Return what is applied and pending. Writes nothing.

        Raises: Conflict `db.no_database`; as `translate` says.
        """
        try:
            with connect(self._url, connect_timeout=10, prepare_threshold=None) as connection:
                connection.read_only = True
                found = _current(connection)
                place = _place(connection)
        except psycopg.Error as error:
            if isinstance(error, psycopg.OperationalError) and error.sqlstate is None and is_absent(self._url):
                raise no_database() from error
            raise translate(error, self._target) from error
        known = [r.id for r in self._revisions]
        unknown = not found <= set(known)
        applied = applied_by(self._location, found)
        return MigrationStatus(
            place=place,
            current=", ".join(sorted(found)) or None,
            head=known[-1],
            applied=() if unknown else tuple(r for r in self._revisions if r.id in applied),
            pending=() if unknown else tuple(r for r in self._revisions if r.id not in applied),
            unknown=unknown,
        )

    def plan(self, request: Migrate) -> Migrated:
        """Return what `migrate` would do, with the SQL where asked. Writes nothing."""
        before = self.status()
        pending = self._chosen(before, request)
        sql = self._sql(before.current, pending, request) if request.sql else None
        return Migrated(before.place, before.current, before.head, (), pending, 0, None, sql)

    def migrate(self, request: Migrate, notify: Callable[[str], None]) -> Migrated:
        """Apply the pending revisions, each in its own transaction, under the migration lock.

        Raises: Refused `db.transaction_pooler`; Conflict `db.unknown_revision`; UsageError
        `db.no_such_revision`; BackendUnavailable `db.lock_timeout`, `postgres.busy`.
        """
        self._refuse_transaction_pooler()
        before = self.status()
        if not self._chosen(before, request) and not _unmarked(before):
            return Migrated(before.place, before.current, before.head, (), (), 0, None)
        from sqlalchemy.exc import DBAPIError

        from bazar_cli.adapters.migrations.lock import migration_lock

        applied: list[AppliedRevision] = []
        try:
            with (
                self._connect(request) as connection,
                migration_lock(connection, request.lock_wait, lambda holder: notify(f"Waiting for {holder}")) as wait,
            ):
                pending = self._chosen(self.status(), request)
                for revision in pending:
                    applied.append(self._apply(connection, revision, notify))
                _mark(connection, notify)
        except DBAPIError as error:
            raise self._failed(error, applied) from error
        after = self.status()
        return Migrated(
            after.place,
            after.current,
            after.head,
            tuple(applied),
            after.pending,
            wait.milliseconds,
            wait.holder,
        )

    def _chosen(self, status: MigrationStatus, request: Migrate) -> tuple[Revision, ...]:
        if status.unknown:
            raise Conflict(
                "db.unknown_revision",
                f"the database is at revision {status.current}, which this release of bazar does not have",
                hint="use the release of bazar that migrated it, or a newer one",
                details={"current": status.current, "head": status.head},
            )
        if request.revision is not None and request.revision != "head":
            known = [r.id for r in self._revisions]
            if request.revision not in known:
                raise UsageError(
                    "db.no_such_revision",
                    f"there is no revision {request.revision!r}",
                    hint=f"one of: {', '.join(known)}, head",
                )
            wanted = known[: known.index(request.revision) + 1]
            return tuple(r for r in status.pending if r.id in wanted)
        if request.steps is not None:
            return status.pending[: request.steps]
        return status.pending

    def _refuse_transaction_pooler(self) -> None:
        if str(conninfo_to_dict(self._url.reveal()).get("port") or "") == _TRANSACTION_POOLER_PORT:
            raise Refused(
                "db.transaction_pooler",
                "port 6543 is a transaction pooler, where a migration cannot hold its lock",
                hint="set DATABASE_MIGRATION_URL to the direct connection or the session pooler (port 5432)",
            )

    @contextmanager
    def _connect(self, request: Migrate) -> Generator[Connection]:
        from sqlalchemy import NullPool, create_engine

        environment, protected = self._marker_for(request)

        def opener() -> psycopg.Connection:
            opened = connect(
                self._url,
                connect_timeout=10,
                prepare_threshold=None,
                application_name="bazar db migrate",
                autocommit=True,
            )
            opened.execute("SELECT set_config('lock_timeout', %s, false)", (f"{request.lock_timeout}s",))
            opened.execute("SELECT set_config('bazar.environment', %s, false)", (environment,))
            opened.execute("SELECT set_config('bazar.protected', %s, false)", (str(protected).lower(),))
            if opened.info.server_version >= 140000:
                # A killed client frees its lock within seconds instead of at the end of its statement.
                opened.execute("SET client_connection_check_interval = '2s'")
            opened.autocommit = False
            return opened

        engine = create_engine("postgresql+psycopg://", creator=opener, poolclass=NullPool, hide_parameters=True)
        with engine.connect() as connection:
            yield connection

    def _marker_for(self, request: Migrate) -> tuple[str, bool]:
        """The marker of a database that has none: the embedded stack's is local, any other production."""
        source = self._target.source
        embedded = source.kind is TargetKind.PROFILE and source.name == LOCAL
        environment = request.environment or (LOCAL if embedded else PRODUCTION)
        if request.protected is not None:
            return environment, request.protected
        return environment, environment != LOCAL

    def _apply(self, connection: Connection, revision: Revision, notify: Callable[[str], None]) -> AppliedRevision:
        from alembic import command
        from sqlalchemy.exc import DBAPIError

        notify(f"Applying {revision.id}: {revision.message}")
        started = time.monotonic()
        for attempt in range(_RETRIES + 1):
            try:
                command.upgrade(self._config(connection), revision.id)
            except DBAPIError as error:
                connection.rollback()
                if _sqlstate(error) not in {_LOCK_NOT_AVAILABLE, _DEADLOCK} or attempt == _RETRIES:
                    raise
                notify(f"A table that {revision.id} needs is locked; trying again")
                time.sleep(random.uniform(*_RETRY_PAUSE_SECONDS))  # noqa: S311 - jitter, no secret
            else:
                return AppliedRevision(revision, round((time.monotonic() - started) * 1000), attempt)
        raise AssertionError("the last attempt returns or raises")

    def _sql(self, current: str | None, pending: tuple[Revision, ...], request: Migrate) -> str:
        """The statements of the pending revisions, with the marker that they give a database without one."""
        from alembic import command
        from psycopg.sql import Literal

        if not pending:
            return ""
        buffer = io.StringIO()
        command.upgrade(self._config(None, buffer), f"{current or 'base'}:{pending[-1].id}", sql=True)
        environment, protected = self._marker_for(request)
        settings = {"bazar.environment": environment, "bazar.protected": str(protected).lower()}
        lines = [f"SELECT set_config('{n}', {Literal(v).as_string(None)}, false);" for n, v in settings.items()]
        return "\n".join([*lines, "", buffer.getvalue()])

    def _config(self, connection: Connection | None, output: io.StringIO | None = None) -> Any:
        from alembic.config import Config

        config = Config(output_buffer=output) if output is not None else Config()
        config.set_main_option("script_location", str(self._location).replace("%", "%%"))
        config.attributes["connection"] = connection
        return config

    def _failed(self, error: Exception, applied: list[AppliedRevision]) -> BazarError:
        from sqlalchemy.exc import DBAPIError

        assert isinstance(error, DBAPIError)
        if _sqlstate(error) in {_LOCK_NOT_AVAILABLE, _DEADLOCK}:
            return BackendUnavailable(
                "postgres.busy",
                "a table that the migration needs stayed locked by another session",
                hint="look for long transactions, then run `bazar db migrate` again",
                details={"applied": [a.revision.id for a in applied]},
            )
        return translate(error, self._target)


def _unmarked(status: MigrationStatus) -> bool:
    return status.current is not None and status.place.marker is None


def _mark(connection: Connection, notify: Callable[[str], None]) -> None:
    """Give a database that lost its marker a new one, by the settings that revisions read too."""
    from sqlalchemy import text

    if connection.execute(text("SELECT to_regclass('bazar.deployment')")).scalar_one() is not None:
        made = connection.execute(text(_MARK))
        if made.rowcount:
            notify("The database had lost its marker; with the new one, identities stamped before count as foreign")
    connection.commit()


def _current(connection: psycopg.Connection) -> frozenset[str]:
    """The revisions that the database is at: none, one, or two before a merge of them was applied."""
    found = connection.execute("SELECT to_regclass('bazar.alembic_version') IS NOT NULL").fetchone()
    if found is None or not found[0]:
        return frozenset()
    return frozenset(str(row[0]) for row in connection.execute("SELECT version_num FROM bazar.alembic_version"))


def _place(connection: psycopg.Connection) -> Place:
    marker = None
    found = connection.execute("SELECT to_regclass('bazar.deployment') IS NOT NULL").fetchone()
    if found is not None and found[0]:
        row = connection.execute("SELECT environment, protected FROM bazar.deployment").fetchone()
        marker = None if row is None else Marker(row[0], row[1])
    info = connection.info
    version = connection.execute("SHOW server_version").fetchone()
    return Place(info.host, info.dbname, marker, str(version[0]) if version else "")


def _sqlstate(error: Exception) -> str | None:
    return getattr(getattr(error, "orig", None), "sqlstate", None)
