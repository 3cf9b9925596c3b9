"""What Postgres says, as domain errors: named for what the operator can do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import conninfo_to_dict

from bazar_cli.adapters.postgres.settings import stopped
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError

    from bazar_cli.domain.secrets import Secret
    from bazar_cli.domain.target import Target

_NOT_MIGRATED = frozenset({"3F000", "42P01", "42703"})
_LOCKED = "55P03"
_BUSY = {
    _LOCKED: "a row or table that it needs is locked by another session",
    "40P01": "it and another session waited for each other",
    "40001": "another session changed the same rows",
}
_WHO_HOLDS_IT = "; `bazar db locks` shows who holds what, and where it cannot pass either, pg_locks in psql does"
_UNAVAILABLE = frozenset({"08", "53", "57", "58"})
"""Classes: connection lost, resources (a full disk among them), operator intervention, the server's own system."""


def address(database_url: Secret) -> str:
    """Return `host:port/database` of a database URL, for texts: without user, password or options."""
    try:
        parts = conninfo_to_dict(database_url.reveal())
    except psycopg.ProgrammingError:
        return "an unreadable database URL"
    host, port = parts.get("host") or "localhost", parts.get("port")
    return f"{host}{f':{port}' if port else ''}/{parts.get('dbname') or ''}"


def translate(error: DBAPIError | psycopg.Error, target: Target, *, own_timeout: float | None = None) -> BazarError:
    """Return the domain error for an error of Postgres or of the way to it.

    Parameters: `own_timeout` as of `settings.stopped`.

    SQLSTATEs are those of the Postgres manual, appendix A. An error that no rule here knows is a bug of ours
    and comes back as the plain BazarError with exit code 1.
    """
    cause = error if isinstance(error, psycopg.Error) else error.orig
    sqlstate = getattr(cause, "sqlstate", None)
    where = address(target.database_url)
    if sqlstate in _NOT_MIGRATED:
        return Conflict(
            "db.not_migrated",
            f"the database {where} does not have the tables that this release needs",
            hint="run `bazar db status`, then `bazar db migrate`",
            details={"sqlstate": sqlstate},
        )
    by_setting = stopped(cause, target, where, own_timeout)
    if by_setting is not None:
        return by_setting
    if sqlstate == "42501":
        return _privilege(target, _first_line(cause), sqlstate)
    if sqlstate in _BUSY:
        return BackendUnavailable(
            "postgres.busy",
            f"the database {where} gave up the command: {_BUSY[sqlstate]}",
            hint=f"run it again{_WHO_HOLDS_IT if sqlstate == _LOCKED else ''}",
            details={"sqlstate": sqlstate},
        )
    if sqlstate in {"28P01", "28000"}:
        return _refused(where, cause, target)
    if sqlstate is not None and sqlstate[:2] in _UNAVAILABLE:
        return BackendUnavailable(
            "postgres.unavailable",
            f"the database {where} cannot serve now: {_first_line(cause)}",
            hint="try again; if it stays away, start it with `bazar local start`"
            if _is_embedded(target)
            else "try again; `bazar doctor` looks at both systems",
            details={"sqlstate": sqlstate},
        )
    if isinstance(cause, psycopg.OperationalError):
        return _unreachable(where, cause, target)
    return BazarError(
        "postgres.unexpected",
        f"the database {where} refused a statement of bazar: {_first_line(cause)}",
        hint="this is a bug; report it with the request id",
        details={"sqlstate": sqlstate},
    )


def users_hidden(target: Target) -> Conflict:
    """The error for a role whom row security may keep from seeing users: what it sees is no proof of who is there."""
    return _privilege(target, "row security hides users from it", None)


def absent(target: Target) -> Conflict:
    """The error for a database that the server proves not to have."""
    return Conflict(
        "db.no_database",
        f"the database {address(target.database_url)} does not exist",
        hint=f"check {target.database_variable}, or run `bazar db create` as SUPERUSER_EMAIL, then `bazar db migrate`",
    )


def _privilege(target: Target, reason: str, sqlstate: str | None) -> Conflict:
    return Conflict(
        "postgres.privilege",
        f"the database user of {address(target.database_url)} may not do this: {reason}",
        hint=f"use the owner of the schema bazar in {target.database_variable}",
        details={"sqlstate": sqlstate},
    )


def _unreachable(where: str, cause: psycopg.Error, target: Target) -> BazarError:
    text = str(cause)
    if "password authentication failed" in text or "no pg_hba.conf entry" in text:
        return _refused(where, cause, target)
    hint = (
        "start it with `bazar local start`"
        if _is_embedded(target)
        else f"check {target.database_variable} and the network, then try again; `bazar doctor` looks at both systems"
    )
    return BackendUnavailable(
        "postgres.unavailable", f"the database {where} is not reachable: {_first_line(cause)}", hint=hint
    )


def _is_embedded(target: Target) -> bool:
    return target.source.name == "local"


def _refused(where: str, cause: BaseException | None, target: Target) -> BazarError:
    return BackendUnavailable(
        "postgres.refused",
        f"the database {where} refused the sign-in: {_first_line(cause)}",
        hint=f"check user and password in {target.database_variable}, then try again",
    )


def _first_line(cause: BaseException | None) -> str:
    """The server's own sentence; libpq never puts a password in it."""
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[0] if lines else type(cause).__name__
