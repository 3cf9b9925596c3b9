"""Dropping things one by one, and putting back what stood on them, in the order that their dependences demand."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg

from bazar_cli.adapters.postgres.dependents import Dependent, Dependents
from bazar_cli.domain.errors import Conflict

if TYPE_CHECKING:
    from bazar_cli.adapters.migrations.owned import Thing

_SHOWN = 5


def take_off(connection: psycopg.Connection, things: Sequence[Thing], dependents: Dependents) -> tuple[Dependent, ...]:
    """Drop what stands on things, then the things, each by its name; return what to put back, in that order.

    Raises: Conflict `db.needed_by_others` when something else stands on them; psycopg.Error.
    """
    tables = [thing.shown for thing in things if thing.command == "TABLE"]
    waiting: list[tuple[str, Dependent | None]] = [(d.drop, d) for d in dependents.found if d.drop is not None]
    # Tables refer to each other, even in circles: one statement drops them together.
    waiting += [(f"DROP TABLE {', '.join(tables)}", None)] if tables else []
    waiting += [(f"DROP {t.command} {t.shown}", None) for t in things if t.command != "TABLE"]
    taken: list[Dependent] = []
    while waiting:
        stuck: list[tuple[str, Dependent | None]] = []
        reasons: list[str] = []
        for statement, dependent in waiting:
            try:
                with connection.transaction():
                    connection.execute(statement.encode())
            except psycopg.errors.DependentObjectsStillExist as error:
                stuck.append((statement, dependent))
                reasons += (error.diag.message_detail or str(error)).splitlines()
            else:
                taken += [dependent] if dependent is not None else []
        if len(stuck) == len(waiting):
            raise _needed(reasons)
        waiting = stuck
    return (*reversed(taken), *(d for d in dependents.found if d.drop is None))


def put_back(connection: psycopg.Connection, taken: Sequence[Dependent], revision: str) -> None:
    """Make again what was taken off; what it holds comes by `fill`.

    Raises: Conflict `db.rows_refer` for a foreign key whose rows have nothing to refer to any more,
    `db.not_restorable` for what does not fit the tables of `revision`; psycopg.Error.
    """
    for dependent in taken:
        with suppress(_MadeAlready):
            _run(connection, dependent, dependent.create, revision)


def fill(connection: psycopg.Connection, taken: Sequence[Dependent], revision: str) -> None:
    """Fill the materialized views that were filled. Raises: Conflict `db.not_restorable`; psycopg.Error."""
    for dependent in taken:
        if dependent.fill is not None:
            _run(connection, dependent, (dependent.fill,), revision)


class _MadeAlready(Exception):
    """The revisions make it themselves."""


def _run(connection: psycopg.Connection, dependent: Dependent, statements: Sequence[str], revision: str) -> None:
    try:
        with connection.transaction():
            for statement in statements:
                connection.execute(statement.encode())
    except psycopg.errors.ForeignKeyViolation as error:
        raise _rows_refer(connection, dependent) from error
    except psycopg.errors.DuplicateObject as error:
        if dependent.drop is None:
            raise _MadeAlready from error
        raise
    except psycopg.errors.InsufficientPrivilege:
        raise
    except (psycopg.ProgrammingError, psycopg.DataError, psycopg.NotSupportedError) as error:
        raise Conflict(
            "db.not_restorable",
            f"{dependent} does not fit the tables of revision {revision}: {error.diag.message_primary}",
            hint="change it or drop it, then run the command again; nothing was done",
            details={"dependent": str(dependent), "sqlstate": error.sqlstate},
        ) from error


def _rows_refer(connection: psycopg.Connection, key: Dependent) -> Conflict:
    found = connection.execute((key.orphans or "").encode()).fetchall()
    count, values = found[0][0], [str(value) for _, value in found]
    more = ", and more" if count > len(values) else ""
    return Conflict(
        "db.rows_refer",
        f"{count} rows refer by the {key} to rows that the reset takes away: {', '.join(values)}{more}",
        hint="delete those rows, or let them refer to nothing, then run the command again; nothing was done",
        details={"dependent": str(key), "rows": count, "values": values},
    )


def _needed(reasons: Sequence[str]) -> Conflict:
    named = list(dict.fromkeys(reasons))
    return Conflict(
        "db.needed_by_others",
        f"what others built on bazar's tables cannot be kept: {'; '.join(named[:_SHOWN])}",
        hint="change or drop it, then run the command again; views, foreign keys, triggers and policies are kept,"
        " and nothing was done",
        details={"dependents": named},
    )
