"""Whether a database answers, without reading anything of bazar's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from bazar_cli.adapters.postgres.connections import connect
from bazar_cli.adapters.postgres.errors import translate
from bazar_cli.domain.db import Place

if TYPE_CHECKING:
    from bazar_cli.domain.target import Target

_SECONDS = 5


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
