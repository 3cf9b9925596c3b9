"""A Postgres that is there already, such as a CI service container: its address, and waiting for it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from urllib.parse import quote, unquote, urlsplit

from bazar_cli.domain.errors import BackendUnavailable, UsageError
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.urls import broken_rule, taken_apart

WAIT_SECONDS = 60.0
_PAUSE_SECONDS = 0.5
_CONNECT_SECONDS = 5
# A server on its way up says so; every other refusal (password, database, pg_hba.conf) is final.
_PASSING = re.compile(r"starting up|shutting down|not yet accepting|recovery|too many clients|reserved", re.I)


def check_url(url: str) -> str:
    """Return `url` when it is a Postgres URL; else raise UsageError `local.database_url`, which hides it."""
    form = "postgresql://USER:PASSWORD@HOST:5432/DATABASE"
    parts = taken_apart(url)
    if parts is None or parts.scheme not in {"postgresql", "postgres"}:
        rule = broken_rule(url.replace("postgres://", "postgresql://", 1), form)
        raise UsageError("local.database_url", f"--database-url cannot be used: {rule}", hint=f"write it as {form}")
    return url


def address(url: str) -> str:
    """Return user, host, port and database of a Postgres URL: what may be shown, without password."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    user = f"{quote(unquote(parts.username), safe='')}@" if parts.username else ""
    return f"postgresql://{user}{host}{port}{parts.path}"


def try_connect(url: str) -> str:
    """Try to connect once; return "" or why not, without the password."""
    import psycopg

    from bazar_cli.adapters.postgres.connections import connect

    try:
        connect(Secret(url), connect_timeout=_CONNECT_SECONDS).close()
    except psycopg.Error as error:
        return _shown(str(error), url)
    return ""


def wait_for(url: str, notify: Callable[[str], None], seconds: float = WAIT_SECONDS) -> None:
    """Wait until the Postgres at `url` takes connections.

    Raises BackendUnavailable `local.database_unavailable` after `seconds`, at once when it refuses for good.
    """
    deadline = time.monotonic() + seconds
    told = False
    while reason := try_connect(url):
        final = "FATAL" in reason and not _PASSING.search(reason)
        if final or time.monotonic() > deadline:
            raise BackendUnavailable(
                "local.database_unavailable",
                f"The database at {address(url)} does not take connections: {reason}",
                hint="check the URL given with --database-url, and that the server runs",
            )
        if not told:
            notify(f"Waiting for the database at {address(url)}")
            told = True
        time.sleep(_PAUSE_SECONDS)


def _shown(text: str, url: str) -> str:
    # libpq does not quote a password, but it does quote parts of a URL that it cannot read.
    line = " ".join(text.split())
    password = urlsplit(url).password
    for secret in {password, unquote(password)} if password else set[str]():
        line = line.replace(secret, "***")
    return line.replace(url, address(url))
