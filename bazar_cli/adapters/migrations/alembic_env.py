"""Alembic's environment: bazar's revisions on one connection, under the migration lock.

`bazar db migrate` hands over its locked connection. Plain `alembic` in a checkout gets one opened here from
DATABASE_MIGRATION_URL or DATABASE_URL, locked the same way.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, pool, text

from bazar_cli.adapters.config.checks import checked_database, plaintext_hosts
from bazar_cli.adapters.migrations.autocommit import invalid_indexes_dropped
from bazar_cli.adapters.migrations.autogenerate_filter import VERSION_TABLE, only_our_names, only_our_objects
from bazar_cli.adapters.migrations.connection import driver_of, open_to_migrate
from bazar_cli.adapters.migrations.log import MigrationLog
from bazar_cli.adapters.postgres.migration_lock import migration_lock
from bazar_cli.adapters.postgres.tables import SCHEMA, metadata
from bazar_cli.domain.errors import Conflict, UsageError
from bazar_cli.domain.target import TargetKind, TargetSource
from bazar_cli.domain.texts import environment

if TYPE_CHECKING:
    from types import ModuleType

    from bazar_cli.domain.secrets import Secret

PLAIN_ALEMBIC_WAIT_SECONDS = 60.0


_TABLE = f"{SCHEMA}.{VERSION_TABLE}"
# For a role named like the schema, as in the embedded stack, it is the default schema. Alembic then compares names
# without it and finds no table.
_BEFORE = text(
    """
    SELECT to_regnamespace(:schema) IS NULL AS fresh,
           coalesce((SELECT relrowsecurity FROM pg_class WHERE oid = to_regclass(:version_table)), false) AS closed,
           has_database_privilege(current_database(), 'CREATE') AS may_create,
           quote_ident(current_database()) AS database, quote_ident(current_user) AS role
    FROM set_config('search_path', 'public', false)
    """
)
# Only its owner may read Alembic's own table, as the others. Done once, so that a run at the head takes no lock.
_SECURE = """
DO $secure$
DECLARE role name;
BEGIN
    IF (SELECT relrowsecurity FROM pg_class WHERE oid = 'bazar.alembic_version'::regclass) THEN
        RETURN;
    END IF;
    ALTER TABLE bazar.alembic_version ENABLE ROW LEVEL SECURITY;
    REVOKE ALL ON bazar.alembic_version FROM PUBLIC;
    FOR role IN SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
        EXECUTE format('REVOKE ALL ON bazar.alembic_version FROM %I', role);
    END LOOP;
END $secure$
"""


def run(alembic_context: ModuleType) -> None:
    """Run the migrations that Alembic was asked for, online or offline.

    Raises: CommandError without a database URL that can be used.
    """
    context = cast("Any", alembic_context)
    config = context.config
    if context.is_offline_mode():
        context.configure(
            dialect_name="postgresql",
            dialect_opts={"paramstyle": "named"},  # the driver's own would double every percent sign
            literal_binds=True,
            target_metadata=metadata,
            version_table=VERSION_TABLE,
            version_table_schema=SCHEMA,
            transaction_per_migration=True,
            on_version_apply=_log_of(config),
            starting_rev=config.attributes.get("applied"),
        )
        context.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        with context.begin_transaction():
            context.run_migrations()
        context.execute(_SECURE)
        return
    given = config.attributes.get("connection")
    if given is not None and config.attributes.get("within"):
        _migrate_within(context, given)
        return
    if given is not None:
        _migrate(context, given)
        return
    url = _url_from_environment()
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: open_to_migrate(url, "alembic"),
        poolclass=pool.NullPool,
        hide_parameters=True,
    )
    with engine.connect() as connection, migration_lock(driver_of(connection), PLAIN_ALEMBIC_WAIT_SECONDS):
        _migrate(context, connection)


def _url_from_environment() -> Secret:
    # A CommandError is the one error of which Alembic's own command shows the text alone.
    values = environment(os.environ)
    for name in ("DATABASE_MIGRATION_URL", "DATABASE_URL"):
        if values.get(name):
            source = TargetSource(TargetKind.ENVIRONMENT, "the environment")
            try:
                return checked_database(name, values[name], source, plaintext_hosts(values))
            except UsageError as error:
                raise CommandError(f"{error.message}; {error.hint}") from error
    raise CommandError("set DATABASE_URL (or DATABASE_MIGRATION_URL) to the database to migrate")


def _log_of(config: Any) -> MigrationLog:
    """The log that `bazar db` hands over, for several calls of Alembic; else a new one."""
    return config.attributes.get("log") or MigrationLog()


def _migrate(context: Any, connection: Connection) -> None:
    fresh, closed = _open_schema(connection)
    connection.commit()
    _configure(context, connection, *(() if closed else (_close_table,)))
    with invalid_indexes_dropped(connection), context.begin_transaction():
        context.run_migrations()
    if connection.in_transaction():
        connection.commit()
    _close_or_drop(connection, fresh=fresh)


def _migrate_within(context: Any, connection: Connection) -> None:
    """Run revisions in the transaction that the caller began and ends, for `bazar db reset`: all of them or none.

    Alembic commits nothing in a transaction that is not its own.
    """
    _open_schema(connection)
    _configure(context, connection)
    context.run_migrations()
    connection.execute(text(_SECURE))


def _open_schema(connection: Connection) -> tuple[bool, bool]:
    """Make the schema if it is missing. Return whether it was, and whether others have no access to Alembic's table.

    Raises: Conflict `postgres.privilege` where the role may not make it.
    """
    found = connection.execute(_BEFORE, {"schema": SCHEMA, "version_table": _TABLE}).one()
    connection.dialect.default_schema_name = "public"
    if found.fresh:
        if not found.may_create:
            raise Conflict(
                "postgres.privilege",
                f"the role {found.role} may not create the schema {SCHEMA} in the database {found.database}",
                hint=f"let the owner of the database run `GRANT CREATE ON DATABASE {found.database} TO {found.role};`,"
                f" or an administrator in that database `CREATE SCHEMA {SCHEMA} AUTHORIZATION {found.role};`, then run"
                " the command again",
            )
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    return bool(found.fresh), bool(found.closed)


def _configure(context: Any, connection: Connection, *on_apply: Callable[..., None]) -> None:
    log = _log_of(context.config)
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        version_table_schema=SCHEMA,
        include_schemas=True,
        include_name=only_our_names,
        include_object=only_our_objects,
        compare_server_default=False,
        transaction_per_migration=True,
        on_version_apply=(log, *on_apply),
    )
    log.start()


def _close_table(*, ctx: Any, heads: set[str], **_rest: object) -> None:
    """Close Alembic's table in the transaction of the first revision, as a later one may fail or be killed."""
    if heads:
        ctx.connection.execute(text(_SECURE))


def _close_or_drop(connection: Connection, *, fresh: bool) -> None:
    """Close Alembic's own table to others. After a downgrade to base, or a read, drop what Alembic made."""
    if connection.execute(text(f"SELECT to_regclass('{_TABLE}')")).scalar() is None:
        if fresh:
            connection.execute(text(f"DROP SCHEMA {SCHEMA}"))
        connection.commit()
        return
    empty = connection.execute(text(f"SELECT NOT EXISTS (SELECT 1 FROM {_TABLE})")).scalar_one()  # noqa: S608
    if empty:
        connection.execute(text(f"DROP TABLE {_TABLE}"))
        others = connection.execute(
            text(
                "SELECT count(*) FROM pg_depend WHERE refclassid = 'pg_namespace'::regclass"
                " AND refobjid = to_regnamespace(:schema) AND deptype = 'n'"
            ),
            {"schema": SCHEMA},
        ).scalar_one()
        if others == 0:
            connection.execute(text(f"DROP SCHEMA {SCHEMA}"))
    else:
        connection.execute(text(_SECURE))
    connection.commit()
