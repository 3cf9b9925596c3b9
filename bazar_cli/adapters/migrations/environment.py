"""What Alembic runs: bazar's revisions on one connection, under the migration lock.

`bazar db migrate` hands over a connection that it locked; plain `alembic` in a checkout gets one made here
from DATABASE_MIGRATION_URL or DATABASE_URL, locked the same way.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import Connection, create_engine, pool, text
from sqlalchemy.engine import URL, make_url

from bazar_cli.adapters.migrations.lock import migration_lock
from bazar_cli.adapters.postgres.tables import SCHEMA, metadata

if TYPE_CHECKING:
    from types import ModuleType

VERSION_TABLE = "alembic_version"
PLAIN_ALEMBIC_WAIT_SECONDS = 60.0


def run(alembic_context: ModuleType) -> None:
    """Run the migrations that Alembic was asked for, on- or offline.

    Raises: LookupError when no database URL is configured.
    """
    context = cast("Any", alembic_context)
    config = context.config
    if context.is_offline_mode():
        context.configure(
            dialect_name="postgresql",
            literal_binds=True,
            target_metadata=metadata,
            version_table=VERSION_TABLE,
            version_table_schema=SCHEMA,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()
        return
    given = config.attributes.get("connection")
    if given is not None:
        _migrate(context, given)
        return
    engine = create_engine(_url_from_environment(), poolclass=pool.NullPool, hide_parameters=True)
    with engine.connect() as connection, migration_lock(connection, PLAIN_ALEMBIC_WAIT_SECONDS):
        _migrate(context, connection)


def sqlalchemy_url(url: str) -> URL:
    """Return a libpq URL as SQLAlchemy reads it, with psycopg 3 as the driver."""
    return make_url(url.replace("postgres://", "postgresql://", 1)).set(drivername="postgresql+psycopg")


def _url_from_environment() -> URL:
    for name in ("DATABASE_MIGRATION_URL", "DATABASE_URL"):
        if os.environ.get(name):
            return sqlalchemy_url(os.environ[name])
    raise LookupError("set DATABASE_URL (or DATABASE_MIGRATION_URL) to the database to migrate")


def _migrate(context: Any, connection: Connection) -> None:
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        version_table_schema=SCHEMA,
        include_schemas=True,
        include_name=_only_ours,
        compare_server_default=False,
        transaction_per_migration=True,
        on_version_apply=context.config.attributes.get("on_version_apply"),
    )
    with context.begin_transaction():
        context.run_migrations()
    if connection.in_transaction():
        connection.commit()
    _close_or_drop(connection)


def _only_ours(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "schema" or name == SCHEMA


def _close_or_drop(connection: Connection) -> None:
    """Lock Alembic's own table up like the others; after a downgrade to base leave nothing behind."""
    table = f"{SCHEMA}.{VERSION_TABLE}"
    if connection.execute(text(f"SELECT to_regclass('{table}')")).scalar() is None:
        connection.commit()
        return
    empty = connection.execute(text(f"SELECT NOT EXISTS (SELECT 1 FROM {table})")).scalar_one()  # noqa: S608
    if empty:
        connection.execute(text(f"DROP TABLE {table}"))
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
        secured = connection.execute(
            text(f"SELECT relrowsecurity FROM pg_class WHERE oid = '{table}'::regclass")  # noqa: S608
        ).scalar_one()
        if not secured:
            connection.execute(text(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"))
            connection.execute(text(f"REVOKE ALL ON {table} FROM PUBLIC"))
            for role in ("anon", "authenticated"):
                found = connection.execute(
                    text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}
                ).scalar()
                if found:
                    connection.execute(text(f"REVOKE ALL ON {table} FROM {role}"))
    connection.commit()
