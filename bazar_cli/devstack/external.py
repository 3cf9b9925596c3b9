"""An external Postgres, such as a CI service container: its address, and the wait until it accepts connections."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, unquote, urlsplit

from bazar_cli.adapters.polling import poll
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, UsageError
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target, TargetKind, TargetSource
from bazar_cli.domain.urls import broken_rule, taken_apart

WAIT_SECONDS = 60.0
_PAUSE_SECONDS = 0.5
_CONNECT_SECONDS = 5


def check_url(url: str) -> str:
    """Return `url` if it is a Postgres URL. Raises: UsageError `local.database_url`, which does not show it."""
    form = "postgresql://USER:PASSWORD@HOST:5432/DATABASE"
    parts = taken_apart(url)
    if parts is None or parts.scheme not in {"postgresql", "postgres"}:
        rule = broken_rule(url.replace("postgres://", "postgresql://", 1), form)
        raise UsageError("local.database_url", f"--database-url cannot be used: {rule}", hint=f"write it as {form}")
    return url


def address(url: str) -> str:
    """Return user, host, port and database of a Postgres URL, for messages: without the password."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    user = f"{quote(unquote(parts.username), safe='')}@" if parts.username else ""
    return f"postgresql://{user}{host}{port}{parts.path}"


def is_reachable(url: str) -> bool:
    """Say whether the server accepts a connection."""
    try:
        return _connect(url)
    except BazarError:
        return False


def wait_for(url: str, notify: Callable[[str], None], seconds: float = WAIT_SECONDS) -> None:
    """Wait until the Postgres at `url` accepts connections.

    Raises: BackendUnavailable `local.database_unavailable` after `seconds`; other errors of
    `adapters.postgres.errors.translate` at once.
    """
    try:
        poll(
            lambda: _connect(url),
            seconds=seconds,
            pause=_PAUSE_SECONDS,
            again=lambda error: isinstance(error, BackendUnavailable),
            on_wait=lambda: notify(f"Waiting for the database at {address(url)}"),
        )
    except BackendUnavailable as error:
        raise BackendUnavailable(
            "local.database_unavailable",
            f"the database at {address(url)} does not accept connections: {error.message}",
            hint="check the URL given with --database-url, and that the server runs",
        ) from error
    except Conflict as error:
        if error.code == "db.no_database":
            error.hint = "check the URL given with --database-url, or create the database first"
        raise


def _connect(url: str) -> bool:
    """Make one connection and return True. Raises: as `adapters.postgres.errors.translate`."""
    import psycopg

    from bazar_cli.adapters.postgres.connections import connect
    from bazar_cli.adapters.postgres.errors import translate

    try:
        connect(Secret(url), connect_timeout=_CONNECT_SECONDS).close()
        return True
    except psycopg.Error as error:
        source = TargetSource(TargetKind.ENVIRONMENT, "--database-url")
        raise translate(
            error, Target(source, "", Secret(""), Secret(url), database_variable="--database-url")
        ) from error
