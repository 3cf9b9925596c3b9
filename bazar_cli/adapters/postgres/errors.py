"""What Postgres says, as domain errors: named for what the operator can do about it.

Every SQLSTATE has an answer, looked up by itself and then by its class. Where there is no SQLSTATE nobody was let in,
or the connection broke: `refusals` knows those texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import conninfo_to_dict

from bazar_cli.adapters.postgres.refusals import Why, refusal_in
from bazar_cli.adapters.postgres.said import Said, said_by
from bazar_cli.adapters.postgres.settings import stopped
from bazar_cli.domain.db.migrations import CHANGED_BY_HAND
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, UsageError

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError

    from bazar_cli.domain.secrets import Secret
    from bazar_cli.domain.target import Target

Answer = Callable[[Said, "Target"], BazarError]

_LOCKED = "55P03"
_BUSY = {
    _LOCKED: "a row or table that it needs is locked by another session",
    "40P01": "it and another session waited for each other",
    "40001": "another session changed the same rows",
}
_WHO_HOLDS_IT = "; `bazar db locks` shows who holds what, and where it cannot pass either, pg_locks in psql does"
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


def translate(error: DBAPIError | psycopg.Error, target: Target, *, own_timeout: float | None = None) -> BazarError:
    """Return the domain error for an error of Postgres or of the way to it.

    Parameters: `own_timeout` as of `settings.stopped`.
    Only what shows that a statement of ours is wrong is a bug, and comes back as the plain BazarError with exit code 1.
    """
    cause = error if isinstance(error, psycopg.Error) else error.orig
    said = said_by(error)
    where = address(target.database_url)
    if where == _UNREADABLE:
        # libpq quotes what it could not read, perhaps a password.
        return _bad_url(Said(None, "libpq cannot read it"), target)
    by_setting = None if said.was_raised else stopped(cause, target, where, own_timeout)
    if by_setting is not None:
        return by_setting
    if said.sqlstate is None or (said.sqlstate[:2] in _OF_POOLERS and _ended_the_session(cause)):
        known = refusal_in(str(cause))
        if known is not None:
            why, refusal = known
            remedy = refusal.remedy.replace("the URL", target.database_variable)
            return _REFUSED[why](replace(refusal, sqlstate=said.sqlstate, remedy=remedy), target)
    if said.sqlstate is None:
        return _without_sqlstate(cause)(said, target)
    answer = answer_to(said.sqlstate)
    theirs = said.is_of_others if answer in _OF_OUR_STATEMENTS else said.was_raised and answer is _unavailable
    return (_rejected if theirs else answer)(said, target)


def _ended_the_session(cause: BaseException | None) -> bool:
    return isinstance(cause, psycopg.Error) and cause.diag.severity_nonlocalized == "FATAL"


def _without_sqlstate(cause: BaseException | None) -> Answer:
    if isinstance(cause, psycopg.OperationalError):
        return _unreachable
    # The driver refused a value, or could not read one.
    return _rejected if isinstance(cause, psycopg.DataError) else _bug


def users_hidden(target: Target) -> Conflict:
    """The error for a role whom row security may keep from seeing users: what it sees is no proof of who is there."""
    return _privilege(Said(None, "row security hides users from it"), target)


def absent(target: Target) -> Conflict:
    """The error for a database that the server proves not to have."""
    return Conflict(
        "db.no_database",
        f"the database {address(target.database_url)} does not exist",
        hint=f"check {target.database_variable}, or run `bazar db create` as SUPERUSER_EMAIL, then `bazar db migrate`",
    )


# -- with a SQLSTATE: one of a statement, as a rule -------------------------------------------------------


def _not_migrated(said: Said, target: Target) -> BazarError:
    return Conflict(
        "db.not_migrated",
        f"the database {address(target.database_url)} does not have the tables that this release needs: {said.text}",
        hint=f"run `bazar db status`, then `bazar db migrate`; {CHANGED_BY_HAND}",
        details={"sqlstate": said.sqlstate},
    )


def _privilege(said: Said, target: Target) -> Conflict:
    return Conflict(
        "postgres.privilege",
        f"the database user of {address(target.database_url)} may not do this: {said.text}",
        hint=said.advice(f"use the owner of the schema bazar in {target.database_variable}"),
        details={"sqlstate": said.sqlstate},
    )


def _busy(said: Said, target: Target) -> BazarError:
    reason = _BUSY.get(said.sqlstate or "", "another session is in its way")
    return BackendUnavailable(
        "postgres.busy",
        f"the database {address(target.database_url)} gave up the command: {reason}: {said.text}",
        hint=said.advice(f"run it again{_WHO_HOLDS_IT if said.sqlstate == _LOCKED else ''}"),
        details={"sqlstate": said.sqlstate},
    )


def _unavailable(said: Said, target: Target) -> BazarError:
    ours = (
        "try again; if it stays away, start it with `bazar local start`"
        if _is_embedded(target)
        else "try again; `bazar doctor` looks at both systems"
    )
    return BackendUnavailable(
        "postgres.unavailable",
        f"the database {address(target.database_url)} cannot serve now: {said.text}",
        hint=said.advice(ours),
        details={"sqlstate": said.sqlstate},
    )


def _no_database(_said: Said, target: Target) -> BazarError:
    return absent(target)


def _rejected(said: Said, target: Target) -> BazarError:
    return Conflict(
        "postgres.rejected",
        f"the database {address(target.database_url)} rejected the command: {said.text}",
        hint=said.advice("a trigger, constraint or setting of the database stands against it; let its owner change it"),
        details={"sqlstate": said.sqlstate},
    )


def _fault(said: Said, target: Target) -> BazarError:
    if "tuple concurrently" in said.message:
        return _busy(said, target)  # two commands changed the same object; Postgres has no SQLSTATE for it
    return Conflict(
        "postgres.fault",
        f"the database {address(target.database_url)} has a fault of its own: {said.text}",
        hint=said.advice("mend the server first: its log says more"),
        details={"sqlstate": said.sqlstate},
    )


def _bug(said: Said, target: Target) -> BazarError:
    return BazarError(
        "postgres.unexpected",
        f"the database {address(target.database_url)} refused a statement of bazar: {said.text}",
        hint=said.advice("this is a bug; report it with the request id"),
        details={"sqlstate": said.sqlstate},
    )


# -- without a SQLSTATE: nobody was let in ----------------------------------------------------------------


def _refused(said: Said, target: Target) -> BazarError:
    return UsageError(
        "postgres.refused",
        f"the database {address(target.database_url)} refused the sign-in: {said.text}",
        hint=said.advice(f"check user and password in {target.database_variable}"),
        details={"sqlstate": said.sqlstate},
    )


def _bad_url(said: Said, target: Target) -> BazarError:
    return UsageError(
        "postgres.url",
        f"{target.database_variable} ({address(target.database_url)}) cannot be used: {said.text}",
        hint=said.advice(f"correct the options behind the ? in {target.database_variable}"),
        details={"sqlstate": said.sqlstate},
    )


def _not_admitted(said: Said, target: Target) -> BazarError:
    return Conflict(
        "postgres.not_admitted",
        f"the database {address(target.database_url)} does not let this user in: {said.text}",
        hint=said.advice("let an administrator of the server admit this role, address and database"),
        details={"sqlstate": said.sqlstate},
    )


def _insecure(said: Said, target: Target) -> BazarError:
    return Conflict(
        "postgres.tls",
        f"the connection to {address(target.database_url)} cannot be as secure as one end demands: {said.text}",
        hint=said.advice(f"set up TLS on the server, or change the ssl options in {target.database_variable}"),
        details={"sqlstate": said.sqlstate},
    )


def _unreachable(said: Said, target: Target) -> BazarError:
    hint = (
        "start it with `bazar local start`"
        if _is_embedded(target)
        else f"check {target.database_variable} and the network, then try again; `bazar doctor` looks at both systems"
    )
    return BackendUnavailable(
        "postgres.unavailable",
        f"the database {address(target.database_url)} is not reachable: {said.message}",
        hint=hint,
    )


def _is_embedded(target: Target) -> bool:
    return target.source.name == "local"


# -- which error gets which answer --------------------------------------------------------------------------

# The classes of the Postgres manual, appendix A, and the SQLSTATEs that differ from their class.
_ANSWERS: Mapping[str, Answer] = {
    "01": _rejected,  # warning
    "02": _rejected,  # no data
    "03": _rejected,  # SQL statement not yet complete
    "08": _unavailable,  # connection exception
    "09": _rejected,  # triggered action exception
    "0A": _rejected,  # feature not supported
    "0B": _rejected,  # invalid transaction initiation
    "0F": _rejected,  # locator exception
    "0L": _rejected,  # invalid grantor
    "0P": _rejected,  # invalid role specification
    "0Z": _rejected,  # diagnostics exception
    "10": _rejected,  # XQuery error
    "20": _rejected,  # case not found
    "21": _bug,  # cardinality violation
    "22": _rejected,  # data exception
    "23": _rejected,  # integrity constraint violation that no repository expects: a constraint of somebody else
    "24": _rejected,  # invalid cursor state: a pooler lent another session
    "25": _bug,  # invalid transaction state
    "26": _rejected,  # invalid SQL statement name: a pooler lent another session
    "27": _rejected,  # triggered data change violation
    "28": _refused,  # invalid authorization specification
    "2B": _rejected,  # dependent privilege descriptors still exist
    "2D": _rejected,  # invalid transaction termination
    "2F": _rejected,  # SQL routine exception
    "34": _rejected,  # invalid cursor name: a pooler lent another session
    "38": _rejected,  # external routine exception
    "39": _rejected,  # external routine invocation exception
    "3B": _rejected,  # savepoint exception
    "3D": _no_database,  # invalid catalog name
    "3F": _not_migrated,  # invalid schema name
    "40": _busy,  # transaction rollback
    "40002": _rejected,  # transaction integrity constraint violation
    "42": _rejected,  # syntax error or access rule violation: an object is not as bazar made it
    "42501": _privilege,
    "42601": _bug,  # syntax error
    "42702": _bug,  # ambiguous column
    "42703": _not_migrated,  # undefined column
    "42712": _bug,  # duplicate alias
    "42803": _bug,  # grouping error
    "42804": _bug,  # datatype mismatch
    "42846": _bug,  # cannot coerce
    "42P01": _not_migrated,  # undefined table
    "42P02": _bug,  # undefined parameter
    "42P08": _bug,  # ambiguous parameter
    "42P18": _bug,  # indeterminate datatype
    "42P19": _bug,  # invalid recursion
    "42P20": _bug,  # windowing error
    "44": _rejected,  # WITH CHECK OPTION violation
    "53": _unavailable,  # insufficient resources, a full disk among them
    "53400": _rejected,  # configuration limit exceeded
    "54": _rejected,  # program limit exceeded
    "55": _rejected,  # object not in prerequisite state
    _LOCKED: _busy,
    "57": _unavailable,  # operator intervention
    "57P04": _no_database,  # database dropped
    "58": _fault,  # system error
    "72": _busy,  # snapshot too old
    "F0": _fault,  # configuration file error
    "HV": _rejected,  # foreign data wrapper error
    "P0": _rejected,  # PL/pgSQL error, RAISE among them
    "XX": _fault,  # internal error, data or index corrupted
}


def answer_to(sqlstate: str) -> Answer:
    """Return what makes the domain error of a SQLSTATE; one that is not of the manual was raised by others' code."""
    return _ANSWERS.get(sqlstate) or _ANSWERS.get(sqlstate[:2], _rejected)


_OF_OUR_STATEMENTS = frozenset({_bug, _not_migrated, _no_database, _refused})
"""Answers that hold for a statement of ours alone, not for one in somebody else's trigger."""
_REFUSED: Mapping[Why, Answer] = {
    Why.PASSES: _unavailable,
    Why.USER: _refused,
    Why.URL: _bad_url,
    Why.TLS: _insecure,
    Why.CLOSED: _not_admitted,
    Why.NO_DATABASE: _no_database,
}
