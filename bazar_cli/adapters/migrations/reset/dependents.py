"""Objects of others that would be lost if bazar's were dropped, each as the statement that drops it.

They are views, foreign keys, policies, triggers, rules, functions, columns and defaults that depend on bazar's objects,
and policies, triggers, rules, extended statistics and memberships in publications on bazar's tables. Tables that
inherit from bazar's, and sequences that belong to their columns, are separated and not dropped.
"""

from __future__ import annotations

from collections.abc import Iterable

import psycopg

from bazar_cli.adapters.migrations.reset.owned import SchemaObject

# `part` marks an object that is dropped with the one it belongs to, such as an index of a materialized view.
# `wholes` leads from an object that cannot be dropped alone to the one to drop, such as from the rule of a view to it.
# `inherited` objects are dropped with those of the parent table.
# `depth` orders the statements, and its limit ends a cycle of functions.
# `others_sequences` belong to a column whose default does not use them.
# Before Postgres 16 the rule of a view needs the view too, which would be a cycle.
# Before Postgres 15 a generated column depends on functions with deptype 'a', later its default does with 'n'.
_DEPENDENTS = """
    WITH RECURSIVE others_sequences (classid, objid) AS (
        SELECT s.classid, s.objid FROM pg_depend s JOIN pg_class c ON c.oid = s.objid
        WHERE s.classid = 'pg_class'::regclass AND c.relkind = 'S' AND s.deptype = 'a' AND NOT EXISTS (
                  SELECT FROM pg_attrdef f JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
                  WHERE f.adrelid = s.refobjid AND f.adnum = s.refobjsubid AND d.refobjid = s.objid)
    ), bazar (classid, objid) AS (
        SELECT class::regclass::oid, oid FROM unnest(%(classes)s::text[], %(oids)s::oid[]) AS k (class, oid)
        UNION
        SELECT d.classid, d.objid FROM bazar b JOIN pg_depend d ON d.refclassid = b.classid AND d.refobjid = b.objid
        WHERE d.deptype IN ('a', 'i', 'P', 'S') AND d.objsubid = 0
          AND (d.classid, d.objid) NOT IN (SELECT classid, objid FROM others_sequences)
    ), children (parent, child) AS (
        SELECT i.inhparent, i.inhrelid FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE NOT c.relispartition
    ), needs (classid, objid, objsubid, refclassid, refobjid, refobjsubid, part) AS NOT MATERIALIZED (
        SELECT classid, objid, objsubid, refclassid, refobjid, refobjsubid,
               deptype <> 'n' AND NOT (deptype = 'a' AND objsubid > 0)
        FROM pg_depend
        WHERE (classid <> 'pg_class'::regclass OR (refobjid, objid) NOT IN (SELECT parent, child FROM children))
          AND (classid <> 'pg_rewrite'::regclass OR (objid, refobjid) NOT IN (
                  SELECT oid, ev_class FROM pg_rewrite WHERE rulename = '_RETURN'))
    ), wholes (classid, objid, objsubid, refclassid, refobjid, refobjsubid) AS NOT MATERIALIZED (
        SELECT classid, objid, objsubid, refclassid, refobjid, refobjsubid FROM pg_depend
        WHERE deptype = 'i' AND NOT (classid = 'pg_attrdef'::regclass AND (refobjid, refobjsubid) IN (
                  SELECT attrelid, attnum FROM pg_attribute WHERE attgenerated = 's'))
        UNION
        SELECT 'pg_class'::regclass, c.oid, a.attnum, 'pg_class'::regclass, c.oid, 0
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        WHERE c.relkind IN ('v', 'm') OR c.reloftype <> 0
    ), dependent (classid, objid, objsubid, part, depth) AS (
        SELECT d.classid, d.objid, d.objsubid, false, 1
        FROM bazar b JOIN needs d ON d.refclassid = b.classid AND d.refobjid = b.objid
        WHERE NOT d.part AND (d.classid, d.objid) NOT IN (
                  SELECT classid, objid FROM bazar UNION ALL SELECT classid, objid FROM others_sequences)
        UNION
        SELECT next.*, x.depth + 1 FROM dependent x CROSS JOIN LATERAL (
            SELECT w.refclassid, w.refobjid, w.refobjsubid, false FROM wholes w
            WHERE NOT x.part AND (w.classid, w.objid, w.objsubid) = (x.classid, x.objid, x.objsubid)
            UNION ALL
            SELECT d.classid, d.objid, d.objsubid, d.part FROM needs d
            WHERE d.refclassid = x.classid AND d.refobjid = x.objid AND x.objsubid IN (0, d.refobjsubid)
        ) AS next (classid, objid, objsubid, part)
        WHERE x.depth < 100
    ), inherited (classid, objid, objsubid) AS (
        SELECT classid, objid, objsubid FROM pg_depend WHERE deptype IN ('P', 'S')
        UNION ALL
        SELECT 'pg_constraint'::regclass, oid, 0 FROM pg_constraint WHERE coninhcount > 0
        UNION ALL
        SELECT 'pg_class'::regclass, attrelid, attnum FROM pg_attribute WHERE attinhcount > 0
        UNION ALL
        SELECT 'pg_attrdef'::regclass, d.oid, 0 FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid
               AND a.attnum = d.adnum WHERE a.attinhcount > 0 AND a.attgenerated <> ''
    ), listed (classid, objid, objsubid, depth) AS (
        SELECT classid, objid, objsubid, max(depth) FROM (
            SELECT * FROM dependent
            WHERE part OR (classid, objid, objsubid) NOT IN (SELECT classid, objid, objsubid FROM wholes)
            UNION ALL
            SELECT classid, objid, 0, false, 0 FROM bazar
            WHERE classid IN ('pg_policy'::regclass, 'pg_statistic_ext'::regclass, 'pg_publication_rel'::regclass)
               OR classid = 'pg_trigger'::regclass AND objid IN (
                      SELECT oid FROM pg_trigger WHERE NOT tgisinternal AND tgfoid NOT IN (
                          SELECT objid FROM bazar WHERE classid = 'pg_proc'::regclass))
               OR classid = 'pg_rewrite'::regclass AND objid IN (SELECT oid FROM pg_rewrite WHERE rulename <> '_RETURN')
        ) AS found
        WHERE (classid, objid, objsubid) NOT IN (SELECT classid, objid, objsubid FROM inherited)
        GROUP BY classid, objid, objsubid HAVING bool_or(NOT part)
    )
    SELECT CASE
        WHEN type IN ('trigger', 'rule', 'policy') THEN format('DROP %%s %%I ON %%I.%%I', upper(type), n[3], n[1], n[2])
        WHEN type = 'table constraint' THEN format('ALTER TABLE %%I.%%I DROP CONSTRAINT %%I', n[1], n[2], n[3])
        WHEN type = 'domain constraint' THEN format('ALTER DOMAIN %%s DROP CONSTRAINT %%I', n[1], a[1])
        WHEN type = 'composite type column' THEN format('ALTER TYPE %%I.%%I DROP ATTRIBUTE %%I', n[1], n[2], n[3])
        WHEN type LIKE '%% column' THEN format('ALTER TABLE %%I.%%I DROP COLUMN %%I', n[1], n[2], n[3])
        WHEN type = 'default value' THEN (
            SELECT format('ALTER TABLE %%I.%%I ALTER COLUMN %%I DROP %%s', n[1], n[2], n[3],
                          CASE c.attgenerated WHEN '' THEN 'DEFAULT' ELSE 'EXPRESSION' END)
            FROM pg_attrdef d JOIN pg_attribute c ON c.attrelid = d.adrelid AND c.attnum = d.adnum WHERE d.oid = objid)
        WHEN type = 'publication relation'
            THEN format('ALTER PUBLICATION %%I DROP TABLE ONLY %%I.%%I', a[1], n[1], n[2])
        WHEN type = 'statistics object' THEN format('DROP STATISTICS %%I.%%I', n[1], n[2])
        ELSE format('DROP %%s %%s', upper(type), (pg_identify_object(classid, objid, objsubid)).identity)
        END AS statement, depth, objid, objsubid
    FROM listed CROSS JOIN LATERAL pg_identify_object_as_address(classid, objid, objsubid) AS o (type, n, a)
    WHERE objsubid = 0 OR (classid, objid, 0) NOT IN (SELECT classid, objid, objsubid FROM listed)
    UNION ALL
    SELECT format('ALTER TABLE %%s NO INHERIT %%s', child::regclass, parent::regclass), 0, child, 0
    FROM children
    WHERE child NOT IN (SELECT objid FROM bazar WHERE classid = 'pg_class'::regclass) AND parent IN (
              SELECT objid FROM bazar WHERE classid = 'pg_class'::regclass
              UNION ALL
              SELECT objid FROM listed WHERE classid = 'pg_class'::regclass AND objsubid = 0)
    UNION ALL
    SELECT format('ALTER SEQUENCE %%s OWNED BY NONE', s.objid::regclass), 0, s.objid, 0
    FROM others_sequences s JOIN pg_depend d ON d.classid = s.classid AND d.objid = s.objid AND d.deptype = 'a'
    WHERE (d.refclassid, d.refobjid) IN (SELECT classid, objid FROM bazar)
    ORDER BY depth DESC, objid DESC, objsubid, statement
"""


def statements_to_drop(connection: psycopg.Connection, objects: Iterable[SchemaObject]) -> tuple[str, ...]:
    """Return the statements that drop what depends on these objects of bazar's, the newest first.

    Raises: psycopg.Error.
    """
    values = {"classes": [o.catalog for o in objects], "oids": [o.oid for o in objects]}
    return tuple(str(row[0]) for row in connection.execute(_DEPENDENTS, values).fetchall())
