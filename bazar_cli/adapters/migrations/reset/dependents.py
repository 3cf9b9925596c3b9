"""What others built on bazar's tables and functions: how to take it off, and how to put it back as it was.

Views with their rules, foreign keys, triggers and policies that lie outside; policies, triggers, rules, extended
statistics and comments that others put on bazar's own tables; the publications that these are in. Definitions come from
the server's own functions, which write every name with its schema where the search path has none: whoever calls sets it
to `pg_catalog`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import psycopg
from psycopg.sql import Literal

_ARRAYS = "WITH ours (rels, routines, types) AS (SELECT %(rels)s::oid[], %(routines)s::oid[], %(types)s::oid[])"
_REFERS = """
    (d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY(rels || views)
     OR d.refclassid = 'pg_proc'::regclass AND d.refobjid = ANY(routines)
     OR d.refclassid = 'pg_type'::regclass AND d.refobjid = ANY(types))
"""
_VIEWS = f"""
    WITH RECURSIVE ours (rels, routines, types, views) AS (
        SELECT %(rels)s::oid[], %(routines)s::oid[], %(types)s::oid[] || ARRAY(
            SELECT unnest(ARRAY[c.reltype, t.typarray]) FROM pg_class c JOIN pg_type t ON t.oid = c.reltype
            WHERE c.oid = ANY(%(rels)s::oid[])), ARRAY[]::oid[]
    ), found (oid) AS (
        SELECT r.ev_class FROM ours, pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
        WHERE d.classid = 'pg_rewrite'::regclass AND {_REFERS} AND r.ev_class <> ALL(rels)
        UNION
        SELECT r.ev_class FROM found JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = found.oid
            JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid, ours
        WHERE r.ev_class <> ALL(rels)
    )
    SELECT c.oid, c.oid::regclass::text AS name, quote_ident(pg_get_userbyid(c.relowner)) AS owner,
           CASE c.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END AS kind,
           format('CREATE %%s %%s%%s%%s AS %%s%%s', CASE c.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END,
                  c.oid::regclass, ' WITH (' || array_to_string(c.reloptions, ', ') || ')',
                  ' TABLESPACE ' || quote_ident(s.spcname), rtrim(pg_get_viewdef(c.oid), ' ;'),
                  CASE c.relkind WHEN 'm' THEN ' WITH NO DATA' END) AS made,
           ARRAY(SELECT format('ALTER TABLE %%s ALTER COLUMN %%I SET DEFAULT %%s', c.oid::regclass, a.attname,
                               pg_get_expr(f.adbin, f.adrelid))
                 FROM pg_attrdef f JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
                 WHERE f.adrelid = c.oid ORDER BY f.adnum) AS defaults,
           ARRAY(SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i WHERE i.indrelid = c.oid ORDER BY 1) AS indexes,
           CASE WHEN c.relkind = 'm' AND c.relispopulated
                THEN format('REFRESH MATERIALIZED VIEW %%s', c.oid::regclass) END AS filled
    FROM found JOIN pg_class c USING (oid) LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
    WHERE c.relkind IN ('v', 'm') ORDER BY name
"""  # noqa: S608 - constants
_FOREIGN_KEYS = """
    SELECT k.oid, k.conrelid::regclass::text AS relation, quote_ident(k.conname) AS name,
           pg_get_constraintdef(k.oid) AS definition,
           (SELECT format('SELECT count(*) OVER (), concat_ws($$, $$, %%s) FROM %%s r WHERE %%s AND NOT EXISTS'
                          ' (SELECT 1 FROM %%s t WHERE %%s) LIMIT 5',
                          string_agg(format('r.%%I', mine.attname), ', ' ORDER BY p.n), k.conrelid::regclass,
                          string_agg(format('r.%%I IS NOT NULL', mine.attname), ' AND '), k.confrelid::regclass,
                          string_agg(format('t.%%I = r.%%I', theirs.attname, mine.attname), ' AND '))
            FROM unnest(k.conkey, k.confkey) WITH ORDINALITY AS p (mine, theirs, n)
                 JOIN pg_attribute mine ON mine.attrelid = k.conrelid AND mine.attnum = p.mine
                 JOIN pg_attribute theirs ON theirs.attrelid = k.confrelid AND theirs.attnum = p.theirs) AS orphans
    FROM pg_constraint k
    WHERE k.contype = 'f' AND k.confrelid = ANY(%(rels)s) AND k.conrelid <> ALL(%(rels)s) AND k.conparentid = 0
    ORDER BY relation, name
"""
_TRIGGERS = """
    SELECT t.oid, t.tgrelid::regclass::text AS relation, quote_ident(t.tgname) AS name,
           pg_get_triggerdef(t.oid) AS definition, t.tgrelid = ANY(%(rels)s) AS on_ours,
           CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' WHEN 'A' THEN 'ENABLE ALWAYS' END
           AS state
    FROM pg_trigger t
    WHERE NOT t.tgisinternal AND t.tgparentid = 0
      AND (t.tgrelid = ANY(%(views)s) OR (t.tgrelid = ANY(%(rels)s)) <> (t.tgfoid = ANY(%(routines)s)))
    ORDER BY relation, name
"""
_RULES = """
    SELECT r.oid, r.ev_class::regclass::text AS relation, quote_ident(r.rulename) AS name,
           pg_get_ruledef(r.oid) AS definition, r.ev_class = ANY(%(rels)s) AS on_ours,
           CASE r.ev_enabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' WHEN 'A' THEN 'ENABLE ALWAYS' END
           AS state
    FROM pg_rewrite r WHERE (r.ev_class = ANY(%(rels)s) OR r.ev_class = ANY(%(views)s)) AND r.rulename <> '_RETURN'
    ORDER BY relation, name
"""
_STATISTICS = """
    SELECT s.oid, format('%%I.%%I', n.nspname, s.stxname) AS name, s.stxrelid::regclass::text AS relation,
           quote_ident(pg_get_userbyid(s.stxowner)) AS owner, pg_get_statisticsobjdef(s.oid) AS definition,
           nullif(s.stxstattarget, -1) AS target
    FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
    WHERE s.stxrelid = ANY(%(rels)s) OR s.stxrelid = ANY(%(views)s)
    ORDER BY name
"""
_POLICIES = f"""
    {_ARRAYS}
    SELECT p.oid, p.polrelid::regclass::text AS relation, quote_ident(p.polname) AS name,
           p.polrelid = ANY(rels) AS on_ours,
           format('CREATE POLICY %%I ON %%s AS %%s FOR %%s TO %%s%%s%%s', p.polname, p.polrelid::regclass,
                  CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
                  CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
                                WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
                  (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END, ', ')
                   FROM unnest(p.polroles) AS r),
                  ' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')',
                  ' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')') AS definition
    FROM pg_policy p, ours, (SELECT %(views)s::oid[]) AS v (views)
    WHERE p.polrelid = ANY(rels)
       OR EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_policy'::regclass AND d.objid = p.oid AND {_REFERS})
    ORDER BY relation, name
"""  # noqa: S608 - constants
_PUBLISHED = """
    SELECT quote_ident(p.pubname) AS name, m.prrelid::regclass::text AS relation, {} AS rest
    FROM pg_publication_rel m JOIN pg_publication p ON p.oid = m.prpubid WHERE m.prrelid = ANY(%(rels)s)
    ORDER BY name, relation
"""
# Since Postgres 15 a publication may choose columns and rows.
_PUBLISHED_PARTS = """
    coalesce(' (' || (SELECT string_agg(quote_ident(a.attname), ', ') FROM pg_attribute a
                      WHERE a.attrelid = m.prrelid AND a.attnum = ANY(m.prattrs::int2[])) || ')', '')
    || coalesce(' WHERE (' || pg_get_expr(m.prqual, m.prrelid) || ')', '')
"""
_COMMENTS = """
    SELECT CASE
        WHEN d.classoid = 'pg_class'::regclass AND d.objsubid > 0
            THEN format('COLUMN %%s.%%I', d.objoid::regclass, (SELECT attname FROM pg_attribute
                        WHERE attrelid = d.objoid AND attnum = d.objsubid))
        WHEN d.classoid = 'pg_class'::regclass THEN format('%%s %%s', (
            SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
                                WHEN 'i' THEN 'INDEX' WHEN 'I' THEN 'INDEX' WHEN 'f' THEN 'FOREIGN TABLE'
                                ELSE 'TABLE' END
            FROM pg_class WHERE oid = d.objoid), d.objoid::regclass)
        WHEN d.classoid = 'pg_proc'::regclass THEN format('ROUTINE %%s', d.objoid::regprocedure)
        WHEN d.classoid = 'pg_type'::regclass THEN format('TYPE %%s', d.objoid::regtype)
        WHEN d.classoid = 'pg_constraint'::regclass THEN (
            SELECT format('CONSTRAINT %%I ON %%s', conname, conrelid::regclass) FROM pg_constraint WHERE oid = d.objoid)
        WHEN d.classoid = 'pg_trigger'::regclass THEN (
            SELECT format('TRIGGER %%I ON %%s', tgname, tgrelid::regclass) FROM pg_trigger WHERE oid = d.objoid)
        WHEN d.classoid = 'pg_policy'::regclass THEN (
            SELECT format('POLICY %%I ON %%s', polname, polrelid::regclass) FROM pg_policy WHERE oid = d.objoid)
        WHEN d.classoid = 'pg_rewrite'::regclass THEN (
            SELECT format('RULE %%I ON %%s', rulename, ev_class::regclass) FROM pg_rewrite WHERE oid = d.objoid)
        WHEN d.classoid = 'pg_statistic_ext'::regclass THEN (
            SELECT format('STATISTICS %%s.%%I', stxnamespace::regnamespace, stxname)
            FROM pg_statistic_ext WHERE oid = d.objoid)
        END AS place, d.description
    FROM pg_description d
    WHERE d.objoid = ANY(%(oids)s)
       OR d.classoid = 'pg_class'::regclass
          AND d.objoid IN (SELECT indexrelid FROM pg_index WHERE indrelid = ANY(%(oids)s))
    ORDER BY place
"""
_SETTINGS = """
    SELECT c.oid::regclass::text AS name,
           CASE WHEN c.relforcerowsecurity THEN 'FORCE ROW LEVEL SECURITY' END AS forced,
           CASE c.relreplident WHEN 'f' THEN 'REPLICA IDENTITY FULL'
                               WHEN 'n' THEN 'REPLICA IDENTITY NOTHING' END AS replica
    FROM pg_class c WHERE c.oid = ANY(%(rels)s) AND c.relkind IN ('r', 'p')
    ORDER BY name
"""


_CATALOGS = {
    "view": "pg_class",
    "materialized view": "pg_class",
    "foreign key": "pg_constraint",
    "trigger": "pg_trigger",
    "policy": "pg_policy",
    "rule": "pg_rewrite",
    "statistics": "pg_statistic_ext",
}


@dataclass(frozen=True)
class Dependent:
    """Something that stands on what goes, or is part of it and not bazar's doing."""

    kind: str
    name: str
    drop: str | None
    """Takes it off; None for what goes with its table."""
    create: tuple[str, ...]
    """Put it back, in this order."""
    oid: int = 0
    fill: str | None = None
    """Of a materialized view, what fills it, as its owner, once all grants are back."""
    orphans: str | None = None
    """Of a foreign key, the query for rows that refer to nothing: how many, and what of five of them."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def catalog(self) -> str | None:
        """The catalog where `oid` is; None for what has no number here."""
        return _CATALOGS.get(self.kind)


@dataclass(frozen=True)
class Dependents:
    """All of it, and what is said of what goes: comments and settings."""

    found: tuple[Dependent, ...]
    comments: tuple[tuple[str, str], ...]
    """What is commented, as COMMENT names it, and the text."""
    settings: tuple[tuple[str, str], ...]
    """Tables, and what ALTER TABLE sets."""

    @property
    def views(self) -> list[int]:
        """The numbers of the views outside."""
        return [one.oid for one in self.found if one.kind in {"view", "materialized view"}]


def built_on(connection: psycopg.Connection, relations: list[int], routines: list[int], types: list[int]) -> Dependents:
    """Return what is built on these; the search path is `pg_catalog`. Raises: psycopg.Error."""
    ours = {"rels": relations, "routines": routines, "types": types}
    views = [*_views(connection, ours)]
    ours["views"] = [view.oid for view in views]
    keys = [
        Dependent(
            "foreign key",
            f"{name} of {relation}",
            f"ALTER TABLE {relation} DROP CONSTRAINT {name}",
            (f"ALTER TABLE {relation} ADD CONSTRAINT {name} {definition}",),
            oid,
            orphans=orphans,
        )
        for oid, relation, name, definition, orphans in connection.execute(_FOREIGN_KEYS, ours).fetchall()
    ]
    rules = [*_rules(connection, ours)]
    # Rules of views, which may refer to views that stand on these, are off before and back after all views.
    of_views = [rule for rule in rules if rule.drop is not None]
    parts = (*(r for r in rules if r.drop is None), *_statistics(connection, ours), *_published(connection, ours))
    found = (*of_views, *_policies(connection, ours), *_triggers(connection, ours), *keys, *views, *parts)
    said = [*relations, *routines, *types, *(one.oid for one in found if one.oid)]
    comments = connection.execute(_COMMENTS, {"oids": said}).fetchall()
    settings = [
        (str(name), str(setting))
        for name, *chosen in connection.execute(_SETTINGS, ours).fetchall()
        for setting in chosen
        if setting
    ]
    return Dependents(found, tuple((str(p), str(text)) for p, text in comments if p), tuple(settings))


def restored(connection: psycopg.Connection, dependents: Dependents) -> None:
    """Say of the tables that are there again what others said of them; what a revision says itself stays.

    Raises: psycopg.Error.
    """
    for place, text in dependents.comments:
        _where_there(connection, f"COMMENT ON {place} IS {_literal(connection, text)}")
    for table, setting in dependents.settings:
        _where_there(connection, f"ALTER TABLE {table} {setting}")


def _where_there(connection: psycopg.Connection, statement: str) -> None:
    """Run a statement about something that an older revision had and this one may not."""
    try:
        with connection.transaction():
            connection.execute(statement.encode())
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedObject):
        return
    except (psycopg.errors.UndefinedFunction, psycopg.errors.WrongObjectType):
        return


def _literal(connection: psycopg.Connection, text: str) -> str:
    return Literal(text).as_string(connection)


def _views(connection: psycopg.Connection, ours: dict[str, list[int]]) -> Iterable[Dependent]:
    rows = connection.execute(_VIEWS.encode(), ours).fetchall()
    for oid, name, owner, kind, made, defaults, indexes, filled in rows:
        owned = f"ALTER TABLE {name} OWNER TO {owner}"
        create = (made, *defaults, *indexes, owned)
        yield Dependent(kind.lower(), name, f"DROP {kind} {name}", create, oid, fill=filled)


def _triggers(connection: psycopg.Connection, ours: dict[str, list[int]]) -> Iterable[Dependent]:
    for oid, relation, name, definition, on_ours, state in connection.execute(_TRIGGERS, ours).fetchall():
        states = (f"ALTER TABLE {relation} {state} TRIGGER {name}",) if state else ()
        drop = None if on_ours else f"DROP TRIGGER {name} ON {relation}"
        yield Dependent("trigger", f"{name} of {relation}", drop, (definition, *states), oid)


def _policies(connection: psycopg.Connection, ours: dict[str, list[int]]) -> Iterable[Dependent]:
    for oid, relation, name, on_ours, definition in connection.execute(_POLICIES.encode(), ours).fetchall():
        drop = None if on_ours else f"DROP POLICY {name} ON {relation}"
        yield Dependent("policy", f"{name} of {relation}", drop, (definition,), oid)


def _rules(connection: psycopg.Connection, ours: dict[str, list[int]]) -> Iterable[Dependent]:
    for oid, relation, name, definition, on_ours, state in connection.execute(_RULES, ours).fetchall():
        states = (f"ALTER TABLE {relation} {state} RULE {name}",) if state else ()
        drop = None if on_ours else f"DROP RULE {name} ON {relation}"
        yield Dependent("rule", f"{name} of {relation}", drop, (definition, *states), oid)


def _statistics(connection: psycopg.Connection, ours: dict[str, list[int]]) -> Iterable[Dependent]:
    for oid, name, relation, owner, definition, target in connection.execute(_STATISTICS, ours).fetchall():
        targets = () if target is None else (f"ALTER STATISTICS {name} SET STATISTICS {target}",)
        create = (definition, *targets, f"ALTER STATISTICS {name} OWNER TO {owner}")
        yield Dependent("statistics", f"{name} of {relation}", None, create, oid)


def _published(connection: psycopg.Connection, ours: dict[str, list[int]]) -> Iterable[Dependent]:
    parts = _PUBLISHED_PARTS if connection.info.server_version >= 150000 else "''"
    for name, relation, rest in connection.execute(_PUBLISHED.format(parts).encode(), ours).fetchall():
        create = (f"ALTER PUBLICATION {name} ADD TABLE ONLY {relation}{rest}",)
        yield Dependent("publication", f"{name} with {relation}", None, create)
