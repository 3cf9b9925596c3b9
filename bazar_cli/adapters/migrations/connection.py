"""The connection that may hold the migration lock: of `bazar db` and of plain Alembic alike."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from bazar_cli.adapters.migrations.pooler import refuse_transaction_pooler
from bazar_cli.adapters.postgres.connections import connect

if TYPE_CHECKING:
    import psycopg

    from bazar_cli.domain.secrets import Secret

_CONNECT_SECONDS = 10
_LOOKS_FOR_ITS_CLIENT = 140000
_NONE: Mapping[str, str] = MappingProxyType({})


def open_to_migrate(url: Secret, application: str, settings: Mapping[str, str] = _NONE) -> psycopg.Connection:
    """Open a connection outside of any transaction, whose server process is its own.

    Parameters: `application` is what others see of it; `settings` are set for the session.
    Raises: Refused `db.transaction_pooler`; psycopg.Error.
    """
    opened = connect(
        url, connect_timeout=_CONNECT_SECONDS, prepare_threshold=None, application_name=application, autocommit=True
    )
    try:
        # Before anything is set: through a pooler it would be set for others.
        refuse_transaction_pooler(url, opened)
        for name, value in settings.items():
            opened.execute("SELECT set_config(%s, %s, false)", (name, value))
        if opened.info.server_version >= _LOOKS_FOR_ITS_CLIENT:
            # A killed client frees its lock within seconds instead of at the end of its statement.
            opened.execute("SET client_connection_check_interval = '2s'")
        opened.autocommit = False
    except BaseException:  # Ctrl-C too leaves no session behind
        opened.close()
        raise
    return opened
