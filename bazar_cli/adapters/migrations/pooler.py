"""Detection of transaction poolers, which lend another server process to each transaction, so that no lock is kept.

A server reports its process number when a connection opens, a pooler another number. Only if they differ more
is asked: while this connection is idle, other connections each hold a transaction open. If this connection's process
serves one of them, or another process serves this connection, the pooler pools transactions.

A pooler that hands out the process idle the longest, and has more idle ones than connections are opened here, is not
found. `LockWait.check` finds it before the next revision.
"""

from __future__ import annotations

import select
import time
from contextlib import ExitStack

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from bazar_cli.adapters.postgres.connections import connect
from bazar_cli.domain.errors import Refused
from bazar_cli.domain.secrets import Secret

_PORT = "6543"
_OTHERS = 3
_ANSWER_SECONDS = 2.0


def refuse_pooler_port(url: Secret) -> None:
    """Refuse the port of Supabase's transaction pooler. Raises: Refused `db.transaction_pooler`."""
    if str(conninfo_to_dict(url.reveal()).get("port") or "") == _PORT:
        raise _refused("port 6543 is a transaction pooler, where a migration cannot hold its lock")


def refuse_transaction_pooler(url: Secret, connection: psycopg.Connection) -> None:
    """Refuse a connection through which transactions are pooled.

    Parameters: `connection` is in autocommit mode and was opened by `url`. Raises: Refused `db.transaction_pooler`;
    psycopg.Error.
    """
    process = _process(connection)
    if process == connection.info.backend_pid:
        return
    with ExitStack() as opened:
        for _ in range(_OTHERS):
            try:
                other = connect(url, autocommit=True, prepare_threshold=None, connect_timeout=round(_ANSWER_SECONDS))
            except psycopg.errors.ConnectionTimeout:
                return
            opened.callback(other.close)
            used = _process_in_transaction(other.pgconn)
            if used is None:
                # No process is free although this connection is idle: its process is reserved.
                return
            if used == process or _process(connection) != process:
                raise _refused("a transaction pooler answers, where a migration cannot hold its lock")


def _process(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])


def _process_in_transaction(connection: pq.abc.PGconn) -> int | None:
    """Open a transaction and return its server process; None if no process is free."""
    connection.send_query(b"BEGIN; SELECT pg_backend_pid()")
    deadline = time.monotonic() + _ANSWER_SECONDS
    while connection.is_busy():
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([connection.socket], [], [], left)[0]:
            return None
        connection.consume_input()
    process = None
    while (result := connection.get_result()) is not None:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise psycopg.OperationalError(result.error_message.decode(errors="replace"))
        if result.status == pq.ExecStatus.TUPLES_OK:
            process = int(result.get_value(0, 0) or b"0")
    return process


def _refused(message: str) -> Refused:
    return Refused(
        "db.transaction_pooler",
        message,
        hint="set DATABASE_MIGRATION_URL to the direct connection or the session pooler (port 5432)",
    )
