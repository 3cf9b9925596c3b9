"""The connection that may hold the migration lock: of `bazar db` and of plain Alembic alike."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

import psycopg

from bazar_cli.adapters.migrations.pooler import refuse_transaction_pooler
from bazar_cli.adapters.postgres.connections import PINNED, connect

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.exc import DBAPIError

    from bazar_cli.domain.secrets import Secret

_CONNECT_SECONDS = 10
# Limits that are set for sessions of an application would end a migration.
_OWN: Mapping[str, str] = MappingProxyType(
    {
        **PINNED,
        "default_transaction_isolation": "read committed",
        "statement_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
    }
)
_NEWER = {
    140000: {
        # A killed client frees its lock within seconds instead of at the end of its statement.
        "client_connection_check_interval": "2s",
        "idle_session_timeout": "0",
    },
    170000: {"transaction_timeout": "0"},
}
_NONE: Mapping[str, str] = MappingProxyType({})
_SET = "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS s (name, value)"


def open_to_migrate(url: Secret, application: str, settings: Mapping[str, str] = _NONE) -> psycopg.Connection:
    """Open a connection outside of any transaction, with a separate server process.

    Parameters: `application` is its name for others; `settings` are set for the session and override those of every
    migration.
    Raises: Refused `db.transaction_pooler`; psycopg.Error.
    """
    opened = connect(
        url, connect_timeout=_CONNECT_SECONDS, prepare_threshold=None, application_name=application, autocommit=True
    )
    try:
        # Before any setting: a pooler would keep it for other clients.
        refuse_transaction_pooler(url, opened)
        own = dict(_OWN)
        for version, newer in _NEWER.items():
            own |= newer if opened.info.server_version >= version else {}
        own |= settings
        opened.execute(_SET, (list(own), list(own.values())))
        opened.autocommit = False
    except BaseException:  # Ctrl-C too leaves no session behind
        opened.close()
        raise
    return opened


def driver_of(connection: Connection) -> psycopg.Connection:
    """Return the psycopg connection under one of SQLAlchemy, for the repositories."""
    return cast("psycopg.Connection", connection.connection.driver_connection)


def driver_error(error: DBAPIError | psycopg.Error) -> psycopg.Error:
    """Return the error of psycopg under one of SQLAlchemy."""
    found = error if isinstance(error, psycopg.Error) else error.orig
    assert isinstance(found, psycopg.Error)
    return found
