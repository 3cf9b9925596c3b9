"""bazar's migrations on one target: their status, and applying the pending ones.

Reading the status imports neither SQLAlchemy nor Alembic.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from bazar_cli.adapters.migrations.pooler import refuse_pooler_port
from bazar_cli.adapters.migrations.revision_files import (
    applied_by,
    is_checksum_of,
    paths,
    revisions,
    script_location,
    tips,
)
from bazar_cli.adapters.postgres.connections import begin, connect
from bazar_cli.adapters.postgres.errors import absent, translate
from bazar_cli.adapters.postgres.probe import is_absent
from bazar_cli.adapters.postgres.settings import read_only, refused
from bazar_cli.domain.db.migrations import (
    LOCAL,
    PRODUCTION,
    AppliedRevision,
    ChangedRevision,
    Marker,
    Migrate,
    Migrated,
    MigrationStatus,
    Place,
    Revision,
    disagreement,
)
from bazar_cli.domain.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from bazar_cli.adapters.migrations.alembic_run import AlembicRun
    from bazar_cli.adapters.migrations.log import MigrationLog
    from bazar_cli.adapters.migrations.offline_sql import ScriptLog
    from bazar_cli.adapters.migrations.session import MigratingSession
    from bazar_cli.domain.authz.spec import Grant
    from bazar_cli.domain.target import Target

_MARK = """
    INSERT INTO bazar.deployment (id, environment, protected)
    VALUES (gen_random_uuid(), current_setting('bazar.environment'), current_setting('bazar.protected')::boolean)
    ON CONFLICT DO NOTHING RETURNING environment, protected
"""
_TABLES = """
    SELECT to_regclass('bazar.alembic_version') IS NOT NULL, to_regclass('bazar.deployment') IS NOT NULL,
           to_regclass('bazar.migration_log') IS NOT NULL, current_setting('server_version')
"""
_LOGGED = """
    SELECT DISTINCT ON (revision) revision, direction, checksum FROM bazar.migration_log ORDER BY revision, id DESC
"""


@dataclass(frozen=True)
class _Tables:
    """Which tables about migrations exist, and the server's version."""

    version: bool
    deployment: bool
    log: bool
    server_version: str


class Migrator:
    """The migrations of one target, over DATABASE_MIGRATION_URL if it is set.

    Parameters: `grant` names the operator in the log.
    """

    _session_name = "bazar db migrate"
    """The name of the session that migrates, as `bazar db locks` shows it."""

    def __init__(self, target: Target, grant: Grant | None = None) -> None:
        self._target = target.to_migrate
        self._grant = grant
        self._url = self._target.database_url
        self._location = script_location()
        self._revisions = revisions(self._location)

    def status(self) -> MigrationStatus:
        """Return which revisions are applied and pending. Writes nothing.

        Raises: Conflict `db.no_database`; as `translate` says.
        """
        try:
            with connect(self._url, connect_timeout=10, prepare_threshold=None, autocommit=True) as connection:
                connection.execute(begin(read_only=True))
                return self._status(connection)
        except psycopg.Error as error:
            if isinstance(error, psycopg.OperationalError) and error.sqlstate is None and is_absent(self._url):
                raise absent(self._target) from error
            raise translate(error, self._target) from error

    def refuse_read_only(self, status: MigrationStatus, done: str) -> None:
        """Refuse before the operator is asked to agree. Raises: BackendUnavailable `postgres.read_only`."""
        if status.read_only is not None:
            raise refused(status.read_only, self._target, done)

    def _status(self, connection: psycopg.Connection) -> MigrationStatus:
        tables = _tables(connection)
        found = _current(connection) if tables.version else frozenset[str]()
        marker = _marker(connection) if tables.deployment else None
        logged = _logged(connection) if tables.log else dict[str, str]()
        known = [r.id for r in self._revisions]
        unknown = not found <= set(known)
        ids = applied_by(self._location, found)
        applied = () if unknown else tuple(r for r in self._revisions if r.id in ids)
        return MigrationStatus(
            place=Place(connection.info.host, connection.info.dbname, marker, tables.server_version),
            current=", ".join(sorted(found)) or None,
            head=known[-1],
            applied=applied,
            pending=() if unknown else tuple(r for r in self._revisions if r.id not in ids),
            unknown=unknown,
            changed=() if unknown else self._changed(applied, logged),
            read_only=read_only(connection),
        )

    def _status_under_lock(self, session: MigratingSession) -> MigrationStatus:
        """The same over the connection that migrates: a pooler may have no other one."""
        try:
            with session.driver.transaction():
                return self._status(session.driver)
        except psycopg.Error as error:
            raise session.translate(error) from error

    def plan(self, request: Migrate) -> Migrated:
        """Return what `migrate` would do, with its SQL. Writes nothing.

        Raises: as `migrate`, for errors that are known before it begins.
        """
        before = self.status()
        pending = self._chosen(before, request)
        self._refuse_mixed(pending)
        sql = self._sql(before.current, pending, request)
        return Migrated(before.place, before.current, before.head, (), before.pending, 0, None, sql, pending)

    def migrate(self, request: Migrate, notify: Callable[[str], None]) -> Migrated:
        """Apply the pending revisions, each in its own transaction, under the migration lock.

        Raises: Refused `db.transaction_pooler`; Conflict `db.unknown_revision`, `db.revision_changed`; UsageError
        `db.no_such_revision`, `db.revision_form`; BackendUnavailable `db.lock_timeout`; as `MigratingSession.run`.
        """
        refuse_pooler_port(self._url)
        before = self.status()
        if not self._chosen(before, request) and not _unmarked(before):
            return Migrated(before.place, before.current, before.head, (), before.pending, 0, None)
        with self._migrating(request, notify) as session:
            now = self._status_under_lock(session)
            pending = self._chosen(now, request)
            self._refuse_mixed(pending)
            log = self._log(now.current, pending)
            alembic = self._alembic_run(session, log)
            applied = self._apply(session, pending, alembic, notify)
            self._mark(session.connection, notify)
            after = self._status_under_lock(session)
        return Migrated(
            after.place,
            after.current,
            after.head,
            tuple(applied),
            after.pending,
            session.lock.milliseconds,
            session.lock.holder,
        )

    def _chosen(self, status: MigrationStatus, request: Migrate) -> tuple[Revision, ...]:
        wrong = disagreement(status)
        if wrong is not None:
            raise wrong
        if request.revision is not None and request.revision != "head":
            known = [r.id for r in self._revisions]
            if request.revision not in known:
                raise UsageError(
                    "db.no_such_revision",
                    f"there is no revision {request.revision!r}",
                    hint=f"choose one of: {', '.join(known)}, head",
                )
            wanted = known[: known.index(request.revision) + 1]
            return tuple(r for r in status.pending if r.id in wanted)
        if request.steps is not None:
            return status.pending[: request.steps]
        return status.pending

    def _migrating(self, request: Migrate, notify: Callable[[str], None]) -> AbstractContextManager[MigratingSession]:
        from bazar_cli.adapters.migrations.session import SessionSettings, migrating

        settings = SessionSettings(
            name=self._session_name,
            lock_wait=request.lock_wait,
            lock_timeout=request.lock_timeout,
            statement_timeout=request.statement_timeout or 0.0,
            values=self._settings_for(request),
        )
        return migrating(self._target, self._url, settings, notify)

    def _log(self, before: str | None = None, pending: tuple[Revision, ...] = ()) -> MigrationLog:
        from bazar_cli.adapters.migrations.log import MigrationLog, MigrationPath

        path = MigrationPath(before, tuple(r.id for r in pending)) if pending else None
        return MigrationLog(self._grant, path=path)

    def _mark(self, connection: Connection, notify: Callable[[str], None]) -> None:
        """Give a database that lost its marker a new one, from the settings that revisions read."""
        from sqlalchemy import text

        from bazar_cli.adapters.migrations.log import record

        if connection.execute(text("SELECT to_regclass('bazar.deployment')")).scalar_one() is not None:
            made = connection.execute(text(_MARK)).mappings().one_or_none()
            if made is not None:
                if self._grant is not None:
                    record(connection, self._grant, None, dict(made))
                notify("The database had lost its marker. With the new one, identities stamped before count as foreign")
        connection.commit()

    def _refuse_mixed(self, revisions: tuple[Revision, ...]) -> None:
        from bazar_cli.adapters.migrations.autocommit import refuse_mixed

        files = paths(self._location) if revisions else {}
        for revision in revisions:
            refuse_mixed(revision.id, files[revision.id])

    def _settings_for(self, request: Migrate) -> dict[str, str]:
        """The settings from which revisions make the marker of a database."""
        environment, protected = self._marker_for(request)
        return {"bazar.environment": environment, "bazar.protected": str(protected).lower()}

    def _marker_for(self, request: Migrate) -> tuple[str, bool]:
        """The marker of a new database: `local` for the embedded stack, else `production`."""
        environment = request.environment or (LOCAL if self._target.source.embedded else PRODUCTION)
        if request.protected is not None:
            return environment, request.protected
        return environment, environment != LOCAL

    def _alembic_run(self, session: MigratingSession, log: MigrationLog, *, within: bool = False) -> AlembicRun:
        """Alembic on the session, with a transaction for each revision or `within` the one that is open."""
        from bazar_cli.adapters.migrations.alembic_run import AlembicRun

        config = self._config(session.connection, log)
        config.attributes["within"] = within
        return AlembicRun(config)

    def _apply(
        self,
        session: MigratingSession,
        revisions: Sequence[Revision],
        alembic: AlembicRun,
        notify: Callable[[str], None],
        before: Sequence[AppliedRevision] = (),
    ) -> list[AppliedRevision]:
        return session.run(revisions, alembic.up, lambda r: notify(f"Applying {r.id}: {r.message}"), before=before)

    def _sql(self, current: str | None, pending: tuple[Revision, ...], request: Migrate) -> str:
        """The statements of the pending revisions, and the settings for the marker."""
        from psycopg.sql import Literal

        from bazar_cli.adapters.migrations.offline_sql import rendered_sql

        if not pending:
            return ""
        # Two revisions, before a merge of them is applied.
        applied = current.split(", ") if current else []
        sql = rendered_sql(lambda script: self._written(script, applied).up(r.id for r in pending), pending)
        settings = self._settings_for(request)
        lines = [f"SELECT set_config('{n}', {Literal(v).as_string(None)}, false);" for n, v in settings.items()]
        return "\n".join([*lines, "", sql])

    def _written(self, script: ScriptLog, applied: Sequence[str]) -> AlembicRun:
        """Alembic that writes SQL into `script`, for a database where `applied` revisions are applied."""
        from bazar_cli.adapters.migrations.alembic_run import AlembicRun

        config = self._config(None, script, script.output)
        config.attributes["applied"] = tips(self._location, applied)
        return AlembicRun(config, as_sql=True)

    def _changed(self, applied: tuple[Revision, ...], logged: Mapping[str, str]) -> tuple[ChangedRevision, ...]:
        others = [r for r in applied if logged.get(r.id, r.checksum) != r.checksum]
        files = paths(self._location) if others else {}
        return tuple(ChangedRevision(r, logged[r.id]) for r in others if not is_checksum_of(files[r.id], logged[r.id]))

    def _config(self, connection: Connection | None, log: MigrationLog, output: io.StringIO | None = None) -> Any:
        from alembic.config import Config

        config = Config(output_buffer=output) if output is not None else Config()
        config.set_main_option("script_location", str(self._location).replace("%", "%%"))
        config.attributes["connection"] = connection
        config.attributes["log"] = log
        return config


def _unmarked(status: MigrationStatus) -> bool:
    return status.current is not None and status.place.marker is None


def _tables(connection: psycopg.Connection) -> _Tables:
    found = connection.execute(_TABLES).fetchone()
    assert found is not None
    return _Tables(*found)


def _current(connection: psycopg.Connection) -> frozenset[str]:
    """The revisions that the database is at: none, one, or two before a merge of them is applied."""
    return frozenset(str(row[0]) for row in connection.execute("SELECT version_num FROM bazar.alembic_version"))


def _logged(connection: psycopg.Connection) -> dict[str, str]:
    """The checksums of the files that were applied, if the log has them."""
    rows = connection.execute(_LOGGED).fetchall()
    return {str(revision): str(known) for revision, direction, known in rows if direction == "up" and known}


def _marker(connection: psycopg.Connection) -> Marker | None:
    row = connection.execute("SELECT environment, protected FROM bazar.deployment").fetchone()
    return None if row is None else Marker(row[0], row[1])
