"""Whether a database answers, without reading anything of bazar's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import conninfo_to_dict

from bazar_cli.adapters.postgres.connections import connect
from bazar_cli.adapters.postgres.errors import translate
from bazar_cli.domain.db import Place

if TYPE_CHECKING:
    from bazar_cli.domain.secrets import Secret
    from bazar_cli.domain.target import Target

_SECONDS = 5
_MAINTENANCE = "postgres"


def probe(target: Target) -> Place:
    """Connect once and return where that was.

    Raises: BackendUnavailable `postgres.unavailable`, `postgres.refused`.
    """
    try:
        with connect(target.database_url, connect_timeout=_SECONDS) as connection:
            info = connection.info
            return Place(info.host, info.dbname, None, info.parameter_status("server_version") or "")
    except psycopg.Error as error:
        raise translate(error, target) from error


def is_absent(database_url: Secret) -> bool:
    """Say whether the server proves that it has no such database.

    libpq hands out no SQLSTATE for a refused connection; the catalog of the maintenance database knows.
    """
    name = conninfo_to_dict(database_url.reveal()).get("dbname")
    try:
        with connect(database_url, dbname=_MAINTENANCE, connect_timeout=_SECONDS, autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
    except psycopg.OperationalError:
        return False
    return found is None
