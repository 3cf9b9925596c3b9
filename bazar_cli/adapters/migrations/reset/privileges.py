"""Owners and grants of tables, columns, routines, types and the schema: read, and made again what they were."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

_READ = """
    WITH o (kind, name, part, owner, acl) AS (
        SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass::text, NULL::name, c.relowner,
               coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r' END, c.relowner))
        FROM pg_class c WHERE c.oid = ANY(%(rels)s)
        UNION ALL
        SELECT 'TABLE', c.oid::regclass::text, a.attname, c.relowner, a.attacl
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.oid = ANY(%(rels)s) AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind <> 'S'
        UNION ALL
        SELECT 'ROUTINE', p.oid::regprocedure::text, NULL, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
        FROM pg_proc p WHERE p.oid = ANY(%(routines)s)
        UNION ALL
        SELECT 'TYPE', t.oid::regtype::text, NULL, t.typowner, coalesce(t.typacl, acldefault('T', t.typowner))
        FROM pg_type t WHERE t.oid = ANY(%(types)s)
        UNION ALL
        SELECT 'SCHEMA', quote_ident(n.nspname), NULL, n.nspowner, coalesce(n.nspacl, acldefault('n', n.nspowner))
        FROM pg_namespace n WHERE n.oid = to_regnamespace('bazar')
    )
    SELECT o.kind, o.name, quote_ident(o.part), quote_ident(pg_get_userbyid(o.owner)),
           quote_ident(pg_get_userbyid(x.grantor)),
           CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END, x.privilege_type,
           x.is_grantable
    FROM o LEFT JOIN LATERAL aclexplode(o.acl) AS x ON true
"""
# A table's own sequences have grants too.
_SEQUENCES = """
    SELECT d.objid FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY(%(rels)s)
      AND d.deptype IN ('a', 'i')
"""
_AGAIN = """
    SELECT array_agg(to_regclass(name)::oid) FILTER (WHERE kind IN ('TABLE', 'SEQUENCE')),
           array_agg(to_regprocedure(name)::oid) FILTER (WHERE kind = 'ROUTINE'),
           array_agg(to_regtype(name)::oid) FILTER (WHERE kind = 'TYPE')
    FROM unnest(%s::text[], %s::text[]) AS o (kind, name)
"""


_OPEN = frozenset({"PUBLIC", "anon", "authenticated"})


@dataclass(frozen=True)
class Place:
    """What grants are given on: a thing, or a column of it; names are quoted by the server."""

    kind: str
    """As GRANT names it."""
    name: str
    """With its schema."""
    column: str | None


@dataclass(frozen=True)
class Item:
    """One privilege that a role gave a role, quoted by the server, or PUBLIC."""

    grantor: str
    grantee: str
    privilege: str
    grantable: bool


@dataclass(frozen=True)
class Privileges:
    """The owner of each thing, and all that is granted on it."""

    owners: dict[Place, str]
    items: dict[Place, frozenset[Item]]


def read(connection: psycopg.Connection, relations: list[int], routines: list[int], types: list[int]) -> Privileges:
    """Return the grants on these, their columns and sequences, and on the schema `bazar`.

    The search path is `pg_catalog`. Raises: psycopg.Error.
    """
    sequences = [row[0] for row in connection.execute(_SEQUENCES, {"rels": relations}).fetchall()]
    given = {"rels": [*relations, *sequences], "routines": routines, "types": types}
    owners: dict[Place, str] = {}
    items: dict[Place, set[Item]] = {}
    for kind, name, column, owner, grantor, grantee, privilege, grantable in connection.execute(
        _READ, given
    ).fetchall():
        place = Place(kind, name, column)
        owners[place] = owner
        found = items.setdefault(place, set())
        if grantor is not None:
            found.add(Item(grantor, grantee, privilege, grantable))
    return Privileges(owners, {place: frozenset(found) for place, found in items.items()})


def restore(connection: psycopg.Connection, before: Privileges, *, exactly: bool) -> None:
    """Give what is there again the owner and the grants that it had.

    Parameters: with `exactly` grants that it had not are taken away, as defaults for new tables may have given them.
    Without, the tables are of other revisions than before: what these grant stays, and what they may have closed to
    everybody and to the roles of Supabase's data API stays closed. Raises: psycopg.Error.
    """
    things = [place for place in before.owners if place.column is None and place.kind != "SCHEMA"]
    # A table's sequence has its owner and follows it.
    for kinds in ({"TABLE", "ROUTINE", "TYPE"}, {"SEQUENCE"}):
        now = _now(connection, things)
        for place in things:
            owner = before.owners[place]
            if place.kind in kinds and now.owners.get(place, owner) != owner:
                connection.execute(f"ALTER {place.kind} {place.name} OWNER TO {owner}".encode())
    now = _now(connection, things)
    for place, wanted in before.items.items():
        there = now.items.get(place)
        if there is None:
            continue
        owner = now.owners[place]
        for item in sorted(there - wanted if exactly else (), key=_order):
            _change(connection, item, owner, f"REVOKE {_what(place, item)} FROM {item.grantee}")
        for item in sorted((i for i in wanted - there if exactly or i.grantee not in _OPEN), key=_order):
            passes_on = " WITH GRANT OPTION" if item.grantable else ""
            _change(connection, item, owner, f"GRANT {_what(place, item)} TO {item.grantee}{passes_on}")


def _now(connection: psycopg.Connection, things: list[Place]) -> Privileges:
    kinds, names = [place.kind for place in things], [place.name for place in things]
    (found,) = connection.execute(_AGAIN, (kinds, names)).fetchall()
    relations, routines, types = ([oid for oid in oids or () if oid is not None] for oids in found)
    return read(connection, relations, routines, types)


def _order(item: Item) -> tuple[bool, str, str, str]:
    """Who may pass it on gets it before those who have it from them."""
    return (not item.grantable, item.grantor, item.grantee, item.privilege)


def _what(place: Place, item: Item) -> str:
    column = "" if place.column is None else f" ({place.column})"
    return f"{item.privilege}{column} ON {place.kind} {place.name}"


def _change(connection: psycopg.Connection, item: Item, owner: str, statement: str) -> None:
    if item.grantor == owner:
        connection.execute(statement.encode())
        return
    # Whoever passed it on does it again.
    connection.execute(f"SET LOCAL ROLE {item.grantor}".encode())
    connection.execute(statement.encode())
    connection.execute("RESET ROLE")
