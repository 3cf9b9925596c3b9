"""Objects of others that would be lost if bazar's were dropped, each as the statement that drops it.

They are views, foreign keys, policies, triggers, rules, functions, columns and defaults that depend on bazar's objects,
and policies, triggers, rules, extended statistics and memberships in publications on bazar's tables.
"""

from __future__ import annotations

from collections.abc import Iterable

import psycopg

from bazar_cli.adapters.migrations.reset.owned import SchemaObject

# `part` marks an object that is dropped with the one it belongs to, such as an index of a materialized view.
_DEPENDENTS = """
    WITH RECURSIVE bazar (classid, objid) AS (
        SELECT class::regclass::oid, oid FROM unnest(%(classes)s::text[], %(oids)s::oid[]) AS k (class, oid)
        UNION
        SELECT d.classid, d.objid FROM bazar b JOIN pg_depend d ON d.refclassid = b.classid AND d.refobjid = b.objid
        WHERE d.deptype IN ('a', 'i', 'P', 'S')
    ), dependent (classid, objid, objsubid, part) AS (
        SELECT d.classid, d.objid, d.objsubid, false
        FROM bazar b JOIN pg_depend d ON d.refclassid = b.classid AND d.refobjid = b.objid
        WHERE d.deptype = 'n' AND (d.classid, d.objid) NOT IN (SELECT classid, objid FROM bazar)
        UNION
        SELECT next.* FROM dependent x CROSS JOIN LATERAL (
            SELECT 'pg_class'::regclass::oid, r.ev_class, 0, false FROM pg_rewrite r
            WHERE x.classid = 'pg_rewrite'::regclass AND r.oid = x.objid AND r.rulename = '_RETURN'
            UNION ALL
            SELECT d.classid, d.objid, d.objsubid, d.deptype <> 'n' FROM pg_depend d
            WHERE d.refclassid = x.classid AND d.refobjid = x.objid AND x.objsubid IN (0, d.refobjsubid)
              AND NOT (x.classid = 'pg_class'::regclass AND x.objid IN (SELECT inhrelid FROM pg_inherits))
        ) AS next (classid, objid, objsubid, part)
    ), listed AS (
        SELECT DISTINCT classid, objid, objsubid FROM dependent WHERE NOT part
        UNION
        SELECT classid, objid, 0 FROM bazar
        WHERE classid IN ('pg_policy'::regclass, 'pg_statistic_ext'::regclass, 'pg_publication_rel'::regclass)
           OR classid = 'pg_trigger'::regclass AND objid IN (
                  SELECT oid FROM pg_trigger WHERE NOT tgisinternal AND tgfoid NOT IN (
                      SELECT objid FROM bazar WHERE classid = 'pg_proc'::regclass))
           OR classid = 'pg_rewrite'::regclass AND objid IN (SELECT oid FROM pg_rewrite WHERE rulename <> '_RETURN')
    )
    SELECT CASE
        WHEN objid IN (SELECT inhrelid FROM pg_inherits WHERE classid = 'pg_class'::regclass) AND objsubid = 0
            THEN (SELECT format('ALTER TABLE %%s NO INHERIT %%s', i.inhrelid::regclass, i.inhparent::regclass)
                  FROM pg_inherits i JOIN bazar b ON b.objid = i.inhparent WHERE i.inhrelid = listed.objid LIMIT 1)
        WHEN type IN ('trigger', 'rule', 'policy') THEN format('DROP %%s %%I ON %%I.%%I', upper(type), n[3], n[1], n[2])
        WHEN type = 'table constraint' THEN format('ALTER TABLE %%I.%%I DROP CONSTRAINT %%I', n[1], n[2], n[3])
        WHEN type = 'table column' THEN format('ALTER TABLE %%I.%%I DROP COLUMN %%I', n[1], n[2], n[3])
        WHEN type = 'default value' THEN format('ALTER TABLE %%I.%%I ALTER COLUMN %%I DROP DEFAULT', n[1], n[2], n[3])
        WHEN type = 'publication relation' THEN format('ALTER PUBLICATION %%I DROP TABLE %%I.%%I', a[1], n[1], n[2])
        WHEN type = 'statistics object' THEN format('DROP STATISTICS %%I.%%I', n[1], n[2])
        ELSE format('DROP %%s %%s', upper(type), (pg_identify_object(classid, objid, objsubid)).identity)
        END AS statement
    FROM listed CROSS JOIN LATERAL pg_identify_object_as_address(classid, objid, objsubid) AS o (type, n, a)
    WHERE NOT (classid = 'pg_rewrite'::regclass AND n[3] = '_RETURN')
      AND NOT (classid = 'pg_constraint'::regclass AND objid IN (SELECT oid FROM pg_constraint WHERE conparentid <> 0))
    ORDER BY objid DESC, objsubid
"""


def statements_to_drop(connection: psycopg.Connection, objects: Iterable[SchemaObject]) -> tuple[str, ...]:
    """Return the statements that drop what depends on these objects of bazar's, the newest first.

    Raises: psycopg.Error.
    """
    values = {"classes": [o.catalog for o in objects], "oids": [o.oid for o in objects]}
    return tuple(str(row[0]) for row in connection.execute(_DEPENDENTS, values).fetchall())
