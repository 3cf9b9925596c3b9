"""Which objects of the schema `bazar` are bazar's: those that revisions make, the tables of the models, and Alembic's.

The names come from the revision files, so objects of others in the schema are known. A database that other
files migrated may hold more of bazar's: there, all that belongs to the role that migrated counts as bazar's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bazar_cli.adapters.migrations.autogenerate_filter import VERSION_TABLE
from bazar_cli.adapters.migrations.revision_files import name_in_catalog, source
from bazar_cli.adapters.postgres.tables import metadata

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
_CATALOGS = {"relation": "pg_class", "routine": "pg_proc", "type": "pg_type"}
_CREATE = re.compile(
    r"\bCREATE\s+(?:OR\s+REPLACE\s+)?(?:UNLOGGED\s+|MATERIALIZED\s+|FOREIGN\s+|RECURSIVE\s+)?"
    rf"(?P<kind>{'|'.join(_KINDS)})\s+(?:IF\s+NOT\s+EXISTS\s+)?bazar\.(?P<name>{_NAME})",
    re.I,
)
_TABLES = {"TABLE", "FOREIGN TABLE"}
_VIEWS = {"VIEW", "MATERIALIZED VIEW"}
# Without the parts of other objects: sequences of columns, types of rows, arrays, and what an extension made.
# A partitioned table depends on itself.
_IN_SCHEMA = """
    WITH objects (class, oid, kind, name, shown, owner, command) AS (
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
    FROM objects o
    WHERE NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = o.class AND d.objid = o.oid AND d.refobjid <> o.oid
                      AND (d.deptype IN ('e', 'i') OR d.deptype = 'a' AND o.command = 'SEQUENCE'))
    ORDER BY shown
"""


@dataclass(frozen=True)
class SchemaObject:
    """A table, view, sequence, routine or type in the schema `bazar`."""

    oid: int
    catalog: str
    """The catalog that has its row, such as `pg_class`."""
    name: str
    """With its schema, quoted, as SQL has it."""
    command: str
    """The kind of object in DROP."""


@dataclass(frozen=True)
class OwnedObjects:
    """The objects in the schema `bazar`: bazar's own, and those of others."""

    objects: tuple[SchemaObject, ...]
    unknown: tuple[SchemaObject, ...]
    """Those of `objects` that no revision file makes."""
    foreign: tuple[SchemaObject, ...]
    missing: tuple[str, ...]
    """Missing tables of the models, and the view of operators if missing. At the head they were dropped by hand."""

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of the tables."""
        return tuple(o.name for o in self.objects if o.command in _TABLES)

    @property
    def drops(self) -> Iterable[str]:
        """The statements that drop all objects, if no object of others depends on them."""
        newest = sorted(self.objects, key=lambda o: o.oid, reverse=True)
        relations = [o for o in newest if o.command in _VIEWS] + [o for o in newest if o.command in _TABLES]
        rest = [o for o in newest if o not in relations]
        yield from (f"DROP {o.command} IF EXISTS {o.name} CASCADE" for o in relations)
        yield from (f"DROP {o.command} IF EXISTS {o.name}" for o in rest)


def names_made_by(files: Iterable[Path]) -> frozenset[tuple[str, str]]:
    """Return the kinds and names of the objects that revision files and the models make in the schema `bazar`."""
    text = "\n".join(source(file).decode("utf-8-sig") for file in files)
    made = {(_KINDS[m["kind"].upper()], name_in_catalog(m["name"])) for m in _CREATE.finditer(text)}
    return frozenset(
        {*made, *(("relation", table.name) for table in metadata.sorted_tables), ("relation", VERSION_TABLE)}
    )


def owned_objects(
    connection: psycopg.Connection, made: frozenset[tuple[str, str]], *, by_other_files: bool
) -> OwnedObjects:
    """Return the objects of the schema `bazar`.

    Parameters: `made` is of `names_made_by`; `by_other_files` says that other files than those migrated the database.
    The search path is `pg_catalog`, so that names have their schema. Raises: psycopg.Error.
    """
    objects: list[SchemaObject] = []
    unknown: list[SchemaObject] = []
    foreign: list[SchemaObject] = []
    missing = {*(table.name for table in metadata.sorted_tables), "operators"}
    for oid, kind, name, shown, command, by_migrator in connection.execute(_IN_SCHEMA).fetchall():
        found = SchemaObject(oid, _CATALOGS[kind], shown, command)
        missing -= {name} if kind == "relation" else set()
        if (kind, name) in made:
            objects.append(found)
        elif by_other_files and by_migrator:
            objects.append(found)
            unknown.append(found)
        else:
            foreign.append(found)
    names = tuple(f"bazar.{name}" for name in sorted(missing))
    return OwnedObjects(tuple(objects), tuple(unknown), tuple(foreign), names)
