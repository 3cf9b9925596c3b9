"""Empty bazar's tables in place. Only foreign keys of others are dropped, and created again.

Grants, views, policies, comments, columns and indexes of others are not touched. Triggers and rules
on the tables are off meanwhile, those of others too.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg import RawCursor
from psycopg.errors import InsufficientPrivilege

from bazar_cli.adapters.migrations.reset.kept import WrittenRow, operator_row, row_texts, write_row
from bazar_cli.adapters.migrations.reset.owned import OwnedObjects
from bazar_cli.adapters.postgres.tables import metadata
from bazar_cli.domain.authz.permissions import SEEDED_PLANS
from bazar_cli.domain.errors import Conflict
from bazar_cli.domain.texts import counted

_KEPT_TABLES = frozenset({"bazar.alembic_version", "bazar.deployment", "bazar.migration_log"})
# Each with the statement that puts it back in its state: an origin's, a replica's, or always.
_SWITCHES = """
    SELECT format('ALTER TABLE %%s DISABLE %%s %%I', relation::regclass, kind, name),
           format('ALTER TABLE %%s ENABLE %%s %%s %%I', relation::regclass,
                  CASE state WHEN 'R' THEN 'REPLICA' WHEN 'A' THEN 'ALWAYS' END, kind, name)
    FROM (SELECT tgrelid, 'TRIGGER', tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal
          UNION ALL
          SELECT ev_class, 'RULE', rulename, ev_enabled FROM pg_rewrite) AS s (relation, kind, name, state)
    WHERE relation = ANY(%(tables)s::regclass[]) AND state <> 'D'
"""
_FOREIGN_KEYS = """
    SELECT format('foreign key %%I of %%s', k.conname, k.conrelid::regclass) AS name,
           format('ALTER TABLE %%s DROP CONSTRAINT %%I', k.conrelid::regclass, k.conname) AS drop,
           format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', k.conrelid::regclass, k.conname,
                  pg_get_constraintdef(k.oid)) AS add,
           format('COMMENT ON CONSTRAINT %%I ON %%s IS %%L', k.conname, k.conrelid::regclass,
                  obj_description(k.oid, 'pg_constraint')) AS comment,
           (SELECT format('SELECT count(*) OVER (), concat_ws($$, $$, %%1$s), ROW(%%1$s)::text FROM %%2$s %%3$s r'
                          ' WHERE %%4$s AND NOT EXISTS (SELECT 1 FROM ONLY %%5$s t WHERE %%6$s)'
                          ' AND ROW(%%1$s)::text NOT IN (SELECT unnest($1::text[]))',
                          string_agg(format('r.%%I', r.attname), ', ' ORDER BY p.n),
                          CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY' END, k.conrelid::regclass,
                          string_agg(format('r.%%I IS NOT NULL', r.attname), ' AND '), k.confrelid::regclass,
                          string_agg(format('t.%%I OPERATOR(%%s.%%s) r.%%I', t.attname,
                                            o.oprnamespace::regnamespace, o.oprname, r.attname), ' AND '))
            FROM unnest(k.conkey, k.confkey, k.conpfeqop) WITH ORDINALITY AS p (referring, referred, equals, n)
                 JOIN pg_attribute r ON r.attrelid = k.conrelid AND r.attnum = p.referring
                 JOIN pg_attribute t ON t.attrelid = k.confrelid AND t.attnum = p.referred
                 JOIN pg_operator o ON o.oid = p.equals) AS orphans,
           k.convalidated,
           pg_get_userbyid(CASE WHEN pg_has_role(c.relowner, 'USAGE') THEN n.nspowner ELSE c.relowner END) AS owner
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE k.contype = 'f' AND k.conparentid = 0
      AND k.confrelid = ANY(%(tables)s::regclass[])
      AND NOT (k.conrelid = ANY(%(tables)s::regclass[]) AND k.conname = ANY(%(made)s::name[]))
    ORDER BY name
"""


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key of others that points to a table of bazar's."""

    name: str
    """Such as `foreign key files_owner_id_fkey of public.files`."""
    drop: str
    add: str
    comment: str
    orphans: str
    """The query for rows that refer to nothing, but not by values of `$1`: how many, for people, and exactly."""
    validated: bool
    owner: str
    """The role that owns the table; if that is the role of the connection, the owner of the schema."""


def emptied_tables(owned: OwnedObjects) -> tuple[str, ...]:
    """Return the tables that a reset in place empties: all but the marker, the log of migrations and Alembic's."""
    return tuple(table for table in owned.tables if table not in _KEPT_TABLES)


def foreign_keys(connection: psycopg.Connection, tables: Iterable[str]) -> tuple[ForeignKey, ...]:
    """Return the foreign keys that point to these tables, but those of the models. Raises: psycopg.Error."""
    made = [str(key.name) for table in metadata.sorted_tables for key in table.foreign_key_constraints]
    rows = connection.execute(_FOREIGN_KEYS, {"tables": list(tables), "made": made}).fetchall()
    return tuple(ForeignKey(*row) for row in rows)


def empty_in_place(connection: psycopg.Connection, tables: tuple[str, ...], operator_id: UUID, email: str) -> None:
    """Empty tables, then write the seeded plans and the operator as a superuser on Premium.

    Columns of others keep their values in the rows that are there again. Parameters: `tables` is of `emptied_tables`;
    all are locked, and the search path is `pg_catalog`.
    Raises: Conflict `db.rows_refer` where rows of others would refer to nothing, `postgres.privilege` for a foreign key
    of another role; psycopg.Error.
    """
    # A deferred check of the new rows would keep their table from being altered.
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    rows = [
        ("bazar.plans", _seeded(connection, "bazar.plans", ("name",), _plans())),
        (
            "bazar.plan_permissions",
            _seeded(connection, "bazar.plan_permissions", ("plan", "permission"), _permissions()),
        ),
        ("bazar.users", [operator_row(connection, operator_id, email)]),
    ]
    with _without_foreign_keys(connection, tables), _without_triggers(connection, tables):
        names = ", ".join(f"ONLY {table}" for table in tables)
        connection.execute(f"TRUNCATE {names} RESTART IDENTITY".encode())
        for table, written in rows:
            for row in written:
                write_row(connection, table, row)


@contextmanager
def _without_triggers(connection: psycopg.Connection, tables: tuple[str, ...]) -> Generator[None]:
    """Switch the triggers and rules of tables off for the block. An error leaves that to the rollback."""
    switches = connection.execute(_SWITCHES, {"tables": list(tables)}).fetchall()
    for off, _ in switches:
        connection.execute(off.encode())
    yield
    for _, on in switches:
        connection.execute(on.encode())


@contextmanager
def _without_foreign_keys(connection: psycopg.Connection, tables: tuple[str, ...]) -> Generator[None]:
    """Take the foreign keys of others off for the block. An error leaves that to the rollback."""
    keys = foreign_keys(connection, tables)
    before: dict[ForeignKey, list[str]] = {}
    for key in keys:
        with _owned_by_others(key):
            connection.execute(key.drop.encode())
            # Rows under a key that was never validated may have referred to nothing before.
            before[key] = [] if key.validated else _values_without_rows(connection, key)
    yield
    for key in keys:
        with _owned_by_others(key):
            count, values = _orphans(connection, key, before[key])
            if count:
                raise _rows_refer(key, count, values)
            connection.execute(key.add.encode())
            connection.execute(key.comment.encode())


@contextmanager
def _owned_by_others(key: ForeignKey) -> Generator[None]:
    """Name the key and its owner where the role of the connection may not alter the table, or read it."""
    try:
        yield
    except InsufficientPrivilege as error:
        raise Conflict(
            "postgres.privilege",
            f"the database user may not take off the {key.name} and put it back: {error.diag.message_primary}",
            hint=f"let the role {key.owner} run `{key.drop}`, or make the database user a member of it; then run the"
            " command again. Nothing was done",
            details={"sqlstate": error.sqlstate, "dependent": key.name},
        ) from error


def _values_without_rows(connection: psycopg.Connection, key: ForeignKey) -> list[str]:
    query = f"SELECT DISTINCT exact FROM ({key.orphans}) AS o (count, shown, exact)"  # noqa: S608 - of the catalog
    return [str(exact) for (exact,) in RawCursor(connection).execute(query.encode(), ([],)).fetchall()]


def _orphans(connection: psycopg.Connection, key: ForeignKey, before: list[str]) -> tuple[int, list[str]]:
    """How many rows refer to nothing, but not by the values of `before`; and the values of five of them."""
    found = RawCursor(connection).execute(f"{key.orphans} LIMIT 5".encode(), (before,)).fetchall()
    return (found[0][0] if found else 0), [str(shown) for _, shown, _ in found]


def _rows_refer(key: ForeignKey, count: int, values: list[str]) -> Conflict:
    more = ", and more" if count > len(values) else ""
    refer = "refers" if count == 1 else "refer"
    return Conflict(
        "db.rows_refer",
        f"{counted(count, 'row')} {refer} by the {key.name} to rows that the reset deletes: {', '.join(values)}{more}",
        hint="delete those rows, or set the columns to NULL, then run the command again; nothing was done",
        details={"dependent": key.name, "rows": count, "values": values},
    )


def _seeded(
    connection: psycopg.Connection, table: str, key: tuple[str, ...], seeds: Iterable[dict[str, Any]]
) -> list[WrittenRow]:
    """The rows of a seeded table: the values that are seeded, and those in columns of others."""
    there = row_texts(connection, table, key)
    return [WrittenRow(there.get(tuple(seed[column] for column in key)), seed) for seed in seeds]


def _plans() -> Iterator[dict[str, Any]]:
    for position, plan in enumerate(SEEDED_PLANS, 1):
        yield {"name": plan.value, "title": plan.value.title(), "position": position}


def _permissions() -> Iterator[dict[str, Any]]:
    for plan, permissions in SEEDED_PLANS.items():
        for permission in sorted(permissions):
            yield {"plan": plan.value, "permission": permission.value}
