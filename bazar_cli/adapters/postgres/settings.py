"""Settings that stop a command: which one it is, its value, and where an administrator set it.

A failed transaction or a dead session cannot show the setting, so another short connection asks for it. Without
an answer the error does not name the setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.errors import QueryCanceled
from psycopg.sql import Identifier, Literal

from bazar_cli.adapters.postgres.connections import Connection, connect, database_of, maintenance
from bazar_cli.domain.db.migrations import STATEMENT_TIMEOUT, ReadOnly
from bazar_cli.domain.errors import BackendUnavailable

if TYPE_CHECKING:
    from bazar_cli.domain.secrets import Secret
    from bazar_cli.domain.target import Target

READ_ONLY = "25006"
_PERHAPS_STANDBY = frozenset({"0A000", "55000"})
"""Codes of other refusals of a standby, such as of a serializable transaction."""
_CANCELLED = "57014"
_LIMITS = {
    _CANCELLED: STATEMENT_TIMEOUT,
    "25P03": "idle_in_transaction_session_timeout",
    "25P04": "transaction_timeout",
    "57P05": "idle_session_timeout",
}
_NOT_WRITABLE = ("session is read-only", "server is in hot standby mode")
"""Messages of libpq if `target_session_attrs` of the URL requires a server that takes writes, and none does."""
_BY_ANOTHER = "due to user request"
_ASK_SECONDS = 5
_ASK_TRIES = 5
_ASK = """
    SELECT pg_is_in_recovery(), current_setting(s.name), s.source, current_user::text,
           current_database()::text
    FROM pg_settings s WHERE s.name = {name}
"""
_EXISTS = "EXISTS (SELECT FROM pg_database WHERE datname = {database})"
_ASK_WITHOUT_LIMIT = f"""
    BEGIN READ ONLY; SET LOCAL statement_timeout = 0;
    SELECT found.*, {_EXISTS} AS database_exists
    FROM (SELECT set_config('statement_timeout', NULL, true) AS reset OFFSET 0) AS first,
        LATERAL ({_ASK} AND first.reset IS NOT NULL OFFSET 0) AS found
"""  # noqa: S608 - constants


@dataclass(frozen=True)
class _Setting:
    """One setting as new sessions of the target have it."""

    standby: bool
    """The server is one."""
    value: str
    source: str
    """The source, by pg_settings."""
    role: str
    database: str

    @property
    def off(self) -> bool:
        """Whether it limits nothing."""
        return self.value in {"off", "0"}

    @property
    def place(self) -> str:
        """The place where it was set."""
        return {
            "database": f"on the database {self.database}",
            "user": f"on the role {self.role}",
            "database user": f"on the role {self.role} in the database {self.database}",
            "global": "on all roles",
            "configuration file": "in the configuration of the server",
            "client": "by the options of the URL",
        }.get(self.source, "by the server")

    def statement(self, change: str) -> str | None:
        """The SQL that changes it where it was set; None where no SQL does."""
        role, database = (Identifier(name).as_string(None) for name in (self.role, self.database))
        begins = {
            "database": f"ALTER DATABASE {database}",
            "user": f"ALTER ROLE {role}",
            "database user": f"ALTER ROLE {role} IN DATABASE {database}",
            "global": "ALTER ROLE ALL",
        }
        return f"{begins[self.source]} {change}" if self.source in begins else None


def read_only(connection: Connection) -> ReadOnly | None:
    """Say why new transactions of a target take no writes; None where they do. Raises: psycopg.Error."""
    return _as_read_only(_setting(connection, "default_transaction_read_only"))


def refuse_read_only(connection: Connection, target: Target) -> None:
    """Refuse to begin what writes. Raises: BackendUnavailable `postgres.read_only`; psycopg.Error."""
    found = read_only(connection)
    if found is not None:
        raise refused(found, target, "nothing was done")


def refused(found: ReadOnly, target: Target, done: str) -> BackendUnavailable:
    """The error for a database that takes no writes. Parameters: `done` says what was done, or that nothing was."""
    return BackendUnavailable(
        "postgres.read_only",
        f"the database takes no writes: {found.text}; {done}",
        hint=found.remedy(target.database_variable),
        details={"reason": found.reason, "set": found.place},
    )


def stopped(error: psycopg.Error, target: Target, where: str, own_timeout: float | None) -> BackendUnavailable | None:
    """Return the domain error where a setting, a standby or another session stopped the command; else None.

    Parameters: `where` names the database; `own_timeout` is the limit of a session that has its own for statements, in
    seconds, and 0 for none.
    """
    sqlstate = error.sqlstate
    if sqlstate == READ_ONLY or sqlstate in _PERHAPS_STANDBY or _never_writable(error):
        found = _as_read_only(_ask(target, "default_transaction_read_only"))
        if sqlstate in _PERHAPS_STANDBY and not (found and found.standby):
            return None
        refusal = refused(found or ReadOnly(), target, "the current change was not written")
        refusal.details["sqlstate"] = sqlstate
        return refusal
    if sqlstate not in _LIMITS:
        return None
    name = _LIMITS[sqlstate]
    if sqlstate == _CANCELLED and _BY_ANOTHER in str(error):
        return _stopped(where, "another session cancelled its statement", "run it again", {"sqlstate": sqlstate})
    if sqlstate == _CANCELLED and own_timeout is not None:
        return _beyond_own(where, own_timeout)
    setting = _ask(target, name)
    if setting is None or setting.off:
        details = {"sqlstate": sqlstate, "setting": name}
        return _stopped(where, f"{name} ended it, or another session did", "run it again", details)
    more = setting.statement(f"SET {name} = ...")
    there = f"in the options of {target.database_variable}" if setting.source == "client" else "there"
    change = f"`{more}`" if more else f"change {name} {there}"
    return _stopped(
        where,
        f"it took longer than {name} allows: {setting.value}, set {setting.place}",
        f"run it again when the database is less busy, or allow more: {change}",
        {"sqlstate": sqlstate, "setting": name, "value": setting.value, "set": setting.place},
    )


def _never_writable(error: psycopg.Error) -> bool:
    refused_by_libpq = error.sqlstate is None and isinstance(error, psycopg.OperationalError)
    return refused_by_libpq and any(text in str(error) for text in _NOT_WRITABLE)


def _beyond_own(where: str, seconds: float) -> BackendUnavailable:
    value = f"{seconds:g}s"
    details = {"sqlstate": _CANCELLED, "setting": STATEMENT_TIMEOUT, "value": value, "set": "--statement-timeout"}
    if seconds:
        reason = f"a statement took longer than --statement-timeout {seconds:g} allows"
        return _stopped(where, reason, "give --statement-timeout more seconds, or leave it out", details)
    # Nothing else limits this session.
    return _stopped(
        where, "a statement_timeout of the revision's own ended it", "run it again", {**details, "set": "the revision"}
    )


def _stopped(where: str, why: str, hint: str, details: Mapping[str, object]) -> BackendUnavailable:
    return BackendUnavailable(
        "postgres.busy", f"the database {where} stopped the command: {why}", hint=hint, details=details
    )


def _as_read_only(setting: _Setting | None) -> ReadOnly | None:
    if setting is None or not (setting.standby or not setting.off):
        return None
    if setting.standby:
        return ReadOnly(standby=True)
    undo = setting.statement("RESET default_transaction_read_only")
    # The session that takes it back has it too.
    return ReadOnly(place=setting.place, undo=undo and f"SET default_transaction_read_only = off; {undo}")


def _ask(target: Target, name: str) -> _Setting | None:
    """Ask by a new connection; None without an answer. A very short limit may end the question: it is asked again."""
    for _ in range(_ASK_TRIES):
        try:
            return _ask_once(target.database_url, name)
        except QueryCanceled:
            continue
        except psycopg.Error:
            return None
    return None


def _ask_once(url: Secret, name: str) -> _Setting | None:
    """Ask the database. If it does not exist yet, ask over the maintenance database, as `db create` does."""
    database = database_of(url)
    try:
        with connect(
            url,
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=_ASK_SECONDS,
            application_name="bazar",
            # Also ask a server that takes no writes, if the URL requires one that does.
            target_session_attrs="any",
        ) as connection:
            return _setting_without_limit(connection, name, database)[0]
    except QueryCanceled:
        raise
    except psycopg.Error:
        with maintenance(url) as connection:
            setting, exists = _setting_without_limit(connection, name, database)
            return None if exists else setting


def _setting(connection: Connection, name: str) -> _Setting:
    return _Setting(*_answered(connection.execute(_of(_ASK, name)), name))


def _setting_without_limit(connection: Connection, name: str, database: str) -> tuple[_Setting, bool]:
    """Ask in one message, which neither a short statement_timeout nor a limit of idleness ends.

    A statement's limit is the one in force when it begins, so the statement itself can reset and show it. As little as
    possible stands before the statement that lifts the limit, because the limit may end that.
    Return the setting, and whether the server has the database.
    """
    cursor = connection.execute(_of(_ASK_WITHOUT_LIMIT, name, database))
    while cursor.nextset():
        pass
    *setting, exists = _answered(cursor, name)
    return _Setting(*setting), exists


def _of(question: str, name: str, database: str = "") -> bytes:
    return question.format(name=Literal(name).as_string(), database=Literal(database).as_string()).encode()


def _answered(cursor: psycopg.Cursor, name: str) -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None, f"every server that ends a command by {name} has it"
    return row
