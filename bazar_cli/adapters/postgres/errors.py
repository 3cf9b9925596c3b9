"""Errors of Postgres as domain errors: named for what the operator can do about them.

Every SQLSTATE has an answer, looked up by itself and then by its class. Without a SQLSTATE the connection was refused
or broke: `connection_failures` knows those texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import conninfo_to_dict

from bazar_cli.adapters.postgres.connection_failures import Cause, failure_in
from bazar_cli.adapters.postgres.diagnostics import Diagnostics, diagnostics_of
from bazar_cli.adapters.postgres.settings import stopped
from bazar_cli.domain.db.migrations import CHANGED_BY_HAND
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, UsageError

if TYPE_CHECKING:
    from bazar_cli.domain.secrets import Secret
    from bazar_cli.domain.target import Target

Answer = Callable[[Diagnostics, "Target"], BazarError]

_LOCKED = "55P03"
_BUSY = {
    _LOCKED: "a row or table that it needs is locked by another session",
    "40P01": "it and another session waited for each other (a deadlock)",
    "40001": "another session changed the same rows",
}
_WHO_HOLDS_IT = "; `bazar db locks` shows the sessions that hold locks. If it waits too, read pg_locks in psql"
_UNREADABLE = "an unreadable database URL"
_OF_POOLERS = ("08", "28", "XX")
"""Classes under which poolers send their own texts, also on a connection that is open."""


def address(database_url: Secret) -> str:
    """Return `host:port/database` of a database URL, for texts: without user, password or options."""
    try:
        parts = conninfo_to_dict(database_url.reveal())
    except psycopg.ProgrammingError:
        return _UNREADABLE
    host, port = parts.get("host") or "localhost", parts.get("port")
    return f"{host}{f':{port}' if port else ''}/{parts.get('dbname') or ''}"


def translate(error: psycopg.Error, target: Target, *, own_timeout: float | None = None) -> BazarError:
    """Return the domain error for an error of Postgres or of the way to it.

    Parameters: `own_timeout` as of `settings.stopped`.
    Only an error that shows a wrong statement of bazar is a bug, and becomes the plain BazarError with exit code 1.
    """
    found = diagnostics_of(error)
    where = address(target.database_url)
    if where == _UNREADABLE:
        # libpq quotes what it could not read, perhaps a password.
        return _BAD_URL(Diagnostics(None, "libpq cannot read it"), target)
    by_setting = None if found.was_raised else stopped(error, target, where, own_timeout)
    if by_setting is not None:
        return by_setting
    if found.sqlstate is None or (found.sqlstate[:2] in _OF_POOLERS and error.diag.severity_nonlocalized == "FATAL"):
        known = failure_in(str(error))
        if known is not None:
            cause, failure = known
            remedy = failure.remedy.replace("the URL", target.database_variable)
            return _BY_CAUSE[cause](replace(failure, sqlstate=found.sqlstate, remedy=remedy), target)
    if found.sqlstate is None:
        return _without_sqlstate(error)(found, target)
    answer = answer_to(found.sqlstate)
    theirs = found.is_of_others if answer in _OF_OUR_STATEMENTS else found.was_raised and answer is _unavailable
    return (_REJECTED if theirs else answer)(found, target)


def _without_sqlstate(error: psycopg.Error) -> Answer:
    if isinstance(error, psycopg.OperationalError):
        return _unreachable
    # The driver refused a value, or could not read one.
    return _REJECTED if isinstance(error, psycopg.DataError) else _BUG


def users_hidden(target: Target) -> BazarError:
    """The error for a role from which row security may hide users: what it does not see may be there."""
    return _PRIVILEGE(Diagnostics(None, "row security hides users from it"), target)


def absent(target: Target) -> Conflict:
    """The error for a database that the server proves not to have."""
    return Conflict(
        "db.no_database",
        f"the database {address(target.database_url)} does not exist",
        hint=f"check {target.database_variable}, or run `bazar db create` as SUPERUSER_EMAIL, then `bazar db migrate`",
    )


# -- the answers ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Answer:
    """An error with these texts: {where} is the database, {variable} holds its URL, {text} is the server's."""

    kind: type[BazarError]
    code: str
    message: str
    hint: str

    def __call__(self, found: Diagnostics, target: Target) -> BazarError:
        texts = {"where": address(target.database_url), "variable": target.database_variable, "text": found.text}
        return self.kind(
            self.code,
            self.message.format_map(texts),
            hint=found.advice(self.hint.format_map(texts)),
            details={"sqlstate": found.sqlstate},
        )


_PRIVILEGE = _Answer(
    Conflict,
    "postgres.privilege",
    "the database user of {where} may not do this: {text}",
    "use the owner of the schema bazar in {variable}",
)
_REJECTED = _Answer(
    Conflict,
    "postgres.rejected",
    "the database {where} rejected the command: {text}",
    "a trigger, constraint or setting of the database forbids it; ask its owner to change it",
)
_FAULT = _Answer(
    Conflict,
    "postgres.fault",
    "the database {where} has an internal fault: {text}",
    "repair the server first: its log says more",
)
_BUG = _Answer(
    BazarError,
    "postgres.unexpected",
    "the database {where} refused a statement of bazar: {text}",
    "this is a bug; report it with the request id",
)
_REFUSED = _Answer(
    UsageError,
    "postgres.refused",
    "the database {where} refused the sign-in: {text}",
    "check user and password in {variable}",
)
_BAD_URL = _Answer(
    UsageError,
    "postgres.url",
    "{variable} ({where}) cannot be used: {text}",
    "correct the options behind the ? in {variable}",
)
_NOT_ADMITTED = _Answer(
    Conflict,
    "postgres.not_admitted",
    "the database {where} does not let this user in: {text}",
    "let an administrator of the server admit this role, address and database",
)
_INSECURE = _Answer(
    Conflict,
    "postgres.tls",
    "the connection to {where} cannot be as secure as one end requires: {text}",
    "set up TLS on the server, or change the ssl options in {variable}",
)


def _not_migrated(found: Diagnostics, target: Target) -> BazarError:
    return Conflict(
        "db.not_migrated",
        f"the database {address(target.database_url)} does not have the tables that this release needs: {found.text}",
        hint=f"run `bazar db status`, then `bazar db migrate`; {CHANGED_BY_HAND}",
        details={"sqlstate": found.sqlstate},
    )


def _busy(found: Diagnostics, target: Target) -> BazarError:
    reason = _BUSY.get(found.sqlstate or "", "another session is in its way")
    return BackendUnavailable(
        "postgres.busy",
        f"the database {address(target.database_url)} stopped the command: {reason}: {found.text}",
        hint=found.advice(f"run it again{_WHO_HOLDS_IT if found.sqlstate == _LOCKED else ''}"),
        details={"sqlstate": found.sqlstate},
    )


def _unavailable(found: Diagnostics, target: Target) -> BazarError:
    remedy = (
        "try again; if it does not come back, start it with `bazar local start`"
        if _is_embedded(target)
        else "try again; `bazar doctor` looks at both systems"
    )
    return BackendUnavailable(
        "postgres.unavailable",
        f"the database {address(target.database_url)} cannot serve now: {found.text}",
        hint=found.advice(remedy),
        details={"sqlstate": found.sqlstate},
    )


def _no_database(_found: Diagnostics, target: Target) -> BazarError:
    return absent(target)


def _fault(found: Diagnostics, target: Target) -> BazarError:
    # Two commands changed the same object; Postgres has no SQLSTATE for it.
    return (_busy if "tuple concurrently" in found.message else _FAULT)(found, target)


def _unreachable(found: Diagnostics, target: Target) -> BazarError:
    hint = (
        "start it with `bazar local start`"
        if _is_embedded(target)
        else f"check {target.database_variable} and the network, then try again; `bazar doctor` looks at both systems"
    )
    return BackendUnavailable(
        "postgres.unavailable",
        f"the database {address(target.database_url)} is not reachable: {found.message}",
        hint=hint,
    )


def _is_embedded(target: Target) -> bool:
    return target.source.name == "local"


# -- which error gets which answer --------------------------------------------------------------------------

# The classes of the Postgres manual, appendix A, and the SQLSTATEs that differ from their class.
_ANSWERS: Mapping[str, Answer] = {
    "01": _REJECTED,  # warning
    "02": _REJECTED,  # no data
    "03": _REJECTED,  # SQL statement not yet complete
    "08": _unavailable,  # connection exception
    "09": _REJECTED,  # triggered action exception
    "0A": _REJECTED,  # feature not supported
    "0B": _REJECTED,  # invalid transaction initiation
    "0F": _REJECTED,  # locator exception
    "0L": _REJECTED,  # invalid grantor
    "0P": _REJECTED,  # invalid role specification
    "0Z": _REJECTED,  # diagnostics exception
    "10": _REJECTED,  # XQuery error
    "20": _REJECTED,  # case not found
    "21": _BUG,  # cardinality violation
    "22": _REJECTED,  # data exception
    "23": _REJECTED,  # integrity constraint violation that no repository expects: a constraint of others
    "24": _REJECTED,  # invalid cursor state: a pooler lent another session
    "25": _BUG,  # invalid transaction state
    "26": _REJECTED,  # invalid SQL statement name: a pooler lent another session
    "27": _REJECTED,  # triggered data change violation
    "28": _REFUSED,  # invalid authorization specification
    "2B": _REJECTED,  # dependent privilege descriptors still exist
    "2D": _REJECTED,  # invalid transaction termination
    "2F": _REJECTED,  # SQL routine exception
    "34": _REJECTED,  # invalid cursor name: a pooler lent another session
    "38": _REJECTED,  # external routine exception
    "39": _REJECTED,  # external routine invocation exception
    "3B": _REJECTED,  # savepoint exception
    "3D": _no_database,  # invalid catalog name
    "3F": _not_migrated,  # invalid schema name
    "40": _busy,  # transaction rollback
    "40002": _REJECTED,  # transaction integrity constraint violation
    "42": _REJECTED,  # syntax error or access rule violation: an object is not as bazar made it
    "42501": _PRIVILEGE,
    "42601": _BUG,  # syntax error
    "42702": _BUG,  # ambiguous column
    "42703": _not_migrated,  # undefined column
    "42712": _BUG,  # duplicate alias
    "42803": _BUG,  # grouping error
    "42804": _BUG,  # datatype mismatch
    "42846": _BUG,  # cannot coerce
    "42P01": _not_migrated,  # undefined table
    "42P02": _BUG,  # undefined parameter
    "42P08": _BUG,  # ambiguous parameter
    "42P18": _BUG,  # indeterminate datatype
    "42P19": _BUG,  # invalid recursion
    "42P20": _BUG,  # windowing error
    "44": _REJECTED,  # WITH CHECK OPTION violation
    "53": _unavailable,  # insufficient resources, a full disk among them
    "53400": _REJECTED,  # configuration limit exceeded
    "54": _REJECTED,  # program limit exceeded
    "55": _REJECTED,  # object not in prerequisite state
    _LOCKED: _busy,
    "57": _unavailable,  # operator intervention
    "57P04": _no_database,  # database dropped
    "58": _fault,  # system error
    "72": _busy,  # snapshot too old
    "F0": _fault,  # configuration file error
    "HV": _REJECTED,  # foreign data wrapper error
    "P0": _REJECTED,  # PL/pgSQL error, RAISE among them
    "XX": _fault,  # internal error, data or index corrupted
}


def answer_to(sqlstate: str) -> Answer:
    """Return the answer to a SQLSTATE; one that the manual does not have was raised by the code of others."""
    return _ANSWERS.get(sqlstate) or _ANSWERS.get(sqlstate[:2], _REJECTED)


_OF_OUR_STATEMENTS = frozenset({_BUG, _not_migrated, _no_database, _REFUSED})
"""Errors whose translation holds only for a statement of bazar, not for one in a trigger of others."""
_BY_CAUSE: Mapping[Cause, Answer] = {
    Cause.PASSES: _unavailable,
    Cause.USER: _REFUSED,
    Cause.URL: _BAD_URL,
    Cause.TLS: _INSECURE,
    Cause.CLOSED: _NOT_ADMITTED,
    Cause.NO_DATABASE: _no_database,
}
