"""The one way to open a connection to a target's database: by its URL, whatever the shell has for libpq."""

from __future__ import annotations

import os
from typing import Any

import psycopg

from bazar_cli.domain.secrets import Secret

LOCK_WAIT_SECONDS = 15
"""How long a statement waits for a row or table that another session has locked."""


def begin(*, read_only: bool, snapshot: bool = False) -> str:
    """Return what opens a transaction, for a connection in autocommit mode: in one round trip, with its time limit.

    A limit of the session would stay with the server's process behind a transaction pooler, and one among the options
    of the connection a pooler may refuse.

    Parameters: `snapshot` gives all statements the same one, taken once bazar's tables, which must be there, are not
    locked: `bazar db reset` makes them anew, and a snapshot of before would show the new ones empty.
    """
    level, wait = "READ COMMITTED", ""
    if snapshot:
        level, wait = "REPEATABLE READ", "; LOCK TABLE bazar.users IN ACCESS SHARE MODE"
    kind = f"ISOLATION LEVEL {level} READ {'ONLY' if read_only else 'WRITE'}"
    return f"BEGIN {kind}; SET LOCAL lock_timeout = '{LOCK_WAIT_SECONDS}s'{wait}"


def connect(url: Secret, **options: Any) -> psycopg.Connection:
    """Connect as the URL says. Raises: psycopg.Error.

    libpq takes what a URL leaves open from PGHOST, PGHOSTADDR, PGSSLMODE, PGSERVICE, PGOPTIONS and others. A target
    comes whole from one source, and was checked for plain text without them, so they count for nothing. libpq has
    no option against them: they leave this process, whose children are programs of Postgres that get a URL too.
    """
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]
    # Text is sent as UTF-8, whatever the database or the role has set: the server says what it cannot store.
    return psycopg.connect(url.reveal(), client_encoding="utf8", **options)
