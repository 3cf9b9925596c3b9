"""Transaction poolers, which lend another server process to each transaction: a session's lock is nothing there.

A server tells its process number when a connection opens. A pooler tells a number of its own, so what stands in
between shows at once, and only then is more asked: while this connection is idle, others each hold a transaction
open. Where this one's process serves one of them, or another process serves this one, the pooler pools transactions.

A limit: a pooler that hands out the process idle the longest, and has more of them idle than are asked for here, is
not told from one that pools sessions. `lock.LockWait.check` finds it before the next revision.
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
    ours = _process(connection)
    if ours == connection.info.backend_pid:
        return
    with ExitStack() as opened:
        for _ in range(_OTHERS):
            try:
                other = connect(url, autocommit=True, prepare_threshold=None, connect_timeout=round(_ANSWER_SECONDS))
            except psycopg.errors.ConnectionTimeout:
                return
            opened.callback(other.close)
            theirs = _process_in_transaction(other.pgconn)
            if theirs is None:
                # Nothing is free while ours does nothing: it is kept for us.
                return
            if theirs == ours or _process(connection) != ours:
                raise _refused("a transaction pooler answers, where a migration cannot hold its lock")


def _process(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])


def _process_in_transaction(connection: pq.abc.PGconn) -> int | None:
    """The server process of a transaction that stays open; None when none is free for one."""
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
