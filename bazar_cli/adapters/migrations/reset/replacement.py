"""Dropping things one by one, and putting back what stood on them, in the order that their dependences demand."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg

from bazar_cli.adapters.migrations.reset.dependents import Dependent, Dependents
from bazar_cli.domain.errors import Conflict

if TYPE_CHECKING:
    from bazar_cli.adapters.migrations.reset.owned import Thing

_SHOWN = 5
_CATALOGS = {"relation": "pg_class", "routine": "pg_proc", "type": "pg_type"}
# Parts go with their whole: columns' sequences, row types, indexes, and a table's own triggers.
_OUTSIDE = """
    WITH RECURSIVE known (class, oid) AS (
        SELECT class::regclass::oid, oid FROM unnest(%(classes)s::text[], %(oids)s::oid[]) AS k (class, oid)
        UNION
        SELECT d.classid, d.objid FROM known k JOIN pg_depend d ON d.refclassid = k.class AND d.refobjid = k.oid
        WHERE d.deptype IN ('a', 'i', 'P', 'S')
    )
    SELECT DISTINCT format('%%s depends on %%s', pg_describe_object(d.classid, d.objid, d.objsubid),
                           pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid)) AS text
    FROM known k JOIN pg_depend d ON d.refclassid = k.class AND d.refobjid = k.oid
    WHERE d.deptype = 'n' AND (d.classid, d.objid) NOT IN (SELECT class, oid FROM known)
    ORDER BY text
"""
# Only what SELECTs: the other rules of views are off when this is asked.
_IN_CIRCLES = """
    WITH RECURSIVE way (upper, lower) AS (
        SELECT r.ev_class, d.refobjid FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
        WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
          AND r.ev_class = ANY(%(views)s) AND d.refobjid = ANY(%(views)s) AND d.refobjid <> r.ev_class
        UNION
        SELECT way.upper, d.refobjid FROM way JOIN pg_rewrite r ON r.ev_class = way.lower
            JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
        WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY(%(views)s) AND d.refobjid <> r.ev_class
    )
    SELECT DISTINCT upper FROM way WHERE upper = lower
"""


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
    refusal: psycopg.errors.DependentObjectsStillExist | None = None
    while waiting:
        stuck: list[tuple[str, Dependent | None]] = []
        for statement, dependent in waiting:
            try:
                with connection.transaction():
                    connection.execute(statement.encode())
            except psycopg.errors.DependentObjectsStillExist as error:
                stuck.append((statement, dependent))
                refusal = error
            else:
                taken += [dependent] if dependent is not None else []
        if len(stuck) == len(waiting):
            assert refusal is not None, "what is stuck was refused"
            circle = _in_circles(connection, [d for _, d in stuck if d is not None])
            if circle:
                raise _on_each_other(circle) from refusal
            raise _needed(_built_by_others(connection, things, dependents) or _said(refusal)) from refusal
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


def _built_by_others(connection: psycopg.Connection, things: Sequence[Thing], dependents: Dependents) -> list[str]:
    """Name what stands on things, or on what would be put back, and is neither nor a part of them.

    What the server refuses names more: things that wait for others of the same.
    """
    known = [(_CATALOGS[thing.kind], thing.oid) for thing in things]
    known += [(d.catalog, d.oid) for d in dependents.found if d.catalog is not None]
    classes, oids = [catalog for catalog, _ in known], [oid for _, oid in known]
    return [str(text) for (text,) in connection.execute(_OUTSIDE, {"classes": classes, "oids": oids}).fetchall()]


def _in_circles(connection: psycopg.Connection, stuck: Sequence[Dependent]) -> list[Dependent]:
    """Return those of the views that select, over others or not, from themselves."""
    found = connection.execute(_IN_CIRCLES, {"views": [d.oid for d in stuck if d.catalog == "pg_class"]}).fetchall()
    return [d for d in stuck if (d.oid,) in found]


def _on_each_other(views: Sequence[Dependent]) -> Conflict:
    # A materialized view is none of DROP VIEW, and goes with the views below it.
    names = ", ".join(view.name for view in views if view.kind == "view")
    return Conflict(
        "db.needed_by_others",
        f"{', '.join(map(str, views))} stand on each other, so that none of them can be made before the others",
        hint=f"`DROP VIEW {names} CASCADE`, run the command again, then create them anew with what stood on them;"
        " nothing was done",
        details={"dependents": [str(view) for view in views]},
    )


def _said(refusal: psycopg.errors.DependentObjectsStillExist) -> list[str]:
    return (refusal.diag.message_detail or str(refusal)).splitlines()


def _needed(reasons: Sequence[str]) -> Conflict:
    named = list(dict.fromkeys(reasons))
    return Conflict(
        "db.needed_by_others",
        f"what others built on bazar's tables cannot be kept: {'; '.join(named[:_SHOWN])}",
        hint="change or drop it, then run the command again; views, foreign keys, triggers and policies are kept,"
        " and nothing was done",
        details={"dependents": named},
    )
