"""What bazar owns in the schema `bazar`: what its revisions make, of all of them, and Alembic's own table.

The names come from the SQL of the revisions, so a table that a stranger put into the schema is told from ours. Where
other files than these migrated the database, nobody here knows what they made: what belongs to the role that migrates
counts as theirs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import psycopg

from bazar_cli.adapters.migrations.autogenerate_filter import VERSION_TABLE

_NAME = r'"(?:[^"]|"")+"|\w+'
_KINDS = {
    "TABLE": "relation",
    "VIEW": "relation",
    "SEQUENCE": "relation",
    "FUNCTION": "routine",
    "PROCEDURE": "routine",
    "AGGREGATE": "routine",
    "TYPE": "type",
    "DOMAIN": "type",
}
_MADE = re.compile(
    r"\bCREATE\s+(?:OR\s+REPLACE\s+)?(?:UNLOGGED\s+|MATERIALIZED\s+|FOREIGN\s+|RECURSIVE\s+)?"
    rf"(?P<kind>{'|'.join(_KINDS)})\s+(?:IF\s+NOT\s+EXISTS\s+)?bazar\.(?P<name>{_NAME})",
    re.I,
)
_RENAMED = re.compile(
    rf"\bALTER\s+(?:MATERIALIZED\s+|FOREIGN\s+)?(?P<kind>{'|'.join(_KINDS)})\s+(?:IF\s+EXISTS\s+)?bazar\.(?:{_NAME})"
    rf"\s*(?:\([^)]*\))?\s+RENAME\s+TO\s+(?P<name>{_NAME})",
    re.I,
)
# Parts of others go with them: sequences of columns, types of rows, arrays. What belongs to an extension is its own.
_IN_SCHEMA = """
    WITH things (class, oid, kind, name, shown, owner, command) AS (
        SELECT 'pg_class'::regclass, c.oid, 'relation', c.relname::text, c.oid::regclass::text, c.relowner,
               CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
                              WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END
        FROM pg_class c WHERE c.relnamespace = to_regnamespace('bazar') AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
        UNION ALL
        SELECT 'pg_proc'::regclass, p.oid, 'routine', p.proname, p.oid::regprocedure::text, p.proowner,
               CASE p.prokind WHEN 'a' THEN 'AGGREGATE' ELSE 'ROUTINE' END
        FROM pg_proc p WHERE p.pronamespace = to_regnamespace('bazar')
        UNION ALL
        SELECT 'pg_type'::regclass, t.oid, 'type', t.typname, t.oid::regtype::text, t.typowner,
               CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END
        FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
        WHERE t.typnamespace = to_regnamespace('bazar') AND t.typtype IN ('c', 'd', 'e', 'r')
          AND coalesce(c.relkind, 'c') = 'c'
    )
    SELECT oid, kind, name, shown, command,
           owner = (SELECT relowner FROM pg_class WHERE oid = to_regclass('bazar.alembic_version')) AS by_migrator
    FROM things t
    WHERE NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = t.class AND d.objid = t.oid
                      AND (d.deptype IN ('e', 'i') OR d.deptype = 'a' AND t.command = 'SEQUENCE'))
    ORDER BY shown
"""


@dataclass(frozen=True)
class Thing:
    """A table, view, sequence, routine or type in the schema `bazar`."""

    oid: int
    kind: str
    """`relation`, `routine` or `type`: each has names of its own."""
    shown: str
    """With its schema, quoted, as SQL has it."""
    command: str
    """What DROP calls it."""


@dataclass(frozen=True)
class Owned:
    """What goes with a reset, and what is in the schema beside it."""

    things: tuple[Thing, ...]
    unsure: tuple[Thing, ...]
    """Of `things`, those that no revision of these makes."""
    strangers: tuple[Thing, ...]

    def oids(self, kind: str) -> list[int]:
        """The numbers of all that are of a kind."""
        return [thing.oid for thing in self.things if thing.kind == kind]

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables, as SQL has them."""
        return tuple(t.shown for t in self.things if t.command in {"TABLE", "FOREIGN TABLE"})


def made_by(sql: str) -> frozenset[tuple[str, str]]:
    """Return what the SQL of revisions makes in the schema `bazar`, by kind and name, under former names too."""
    found = {(_KINDS[m["kind"].upper()], _plain(m["name"])) for e in (_MADE, _RENAMED) for m in e.finditer(sql)}
    return frozenset({*found, ("relation", VERSION_TABLE)})


def owned_in(connection: psycopg.Connection, made: frozenset[tuple[str, str]], *, by_other_files: bool) -> Owned:
    """Tell bazar's from others' in the schema `bazar`.

    Parameters: `made` is of `made_by`; `by_other_files` says that the database was migrated by other files than those.
    Every name is shown with its schema where the search path has none of them. Raises: psycopg.Error.
    """
    things: list[Thing] = []
    unsure: list[Thing] = []
    strangers: list[Thing] = []
    for oid, kind, name, shown, command, by_migrator in connection.execute(_IN_SCHEMA).fetchall():
        thing = Thing(oid, kind, shown, command)
        known = (kind, name) in made
        if known or (by_other_files and by_migrator):
            things.append(thing)
        else:
            strangers.append(thing)
        if thing in things and not known:
            unsure.append(thing)
    return Owned(tuple(things), tuple(unsure), tuple(strangers))


def _plain(name: str) -> str:
    """An identifier as the catalog has it."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
