"""Objects of the schema `bazar` that other roles than the owner can access, by the catalog (docs/architecture.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bazar_cli.adapters.postgres.rows import fetch_values
from bazar_cli.domain.doctor import Affected, Exposure

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.connections import Connection

# Supabase's data API speaks as these two, and everybody is PUBLIC. What they have through other roles counts too:
# has_*_privilege says what a role can do, not what was granted to it by name.
_ROLES = """(
    SELECT 'public'::name AS name UNION ALL SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated'))"""
_RELATIONS = """
    SELECT c.oid, c.relname, c.relkind, c.relrowsecurity FROM pg_class c
    WHERE c.relnamespace = to_regnamespace('bazar') AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
"""
_UNPROTECTED = f"""
    SELECT format('bazar.%I', relname) AS name FROM ({_RELATIONS}) AS tables
    WHERE relkind IN ('r', 'p') AND NOT relrowsecurity ORDER BY 1
"""  # noqa: S608 - constants
# Nothing in a schema can be reached without USAGE on it. A privilege on one column is one on the table.
_REACHABLE = f"""
    WITH roles AS (SELECT * FROM {_ROLES} AS r WHERE has_schema_privilege(name, 'bazar', 'USAGE'))
    SELECT format('bazar.%I', o.relname) AS name, CASE WHEN o.relkind = 'S' THEN 'SEQUENCES' ELSE 'TABLES' END AS kind,
           r.name AS role, string_agg(p.name, ', ' ORDER BY p.place) AS privileges
    FROM ({_RELATIONS}) AS o CROSS JOIN roles r
    CROSS JOIN LATERAL unnest(
        CASE WHEN o.relkind = 'S' THEN ARRAY['SELECT', 'USAGE', 'UPDATE']
             ELSE ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'] END
    ) WITH ORDINALITY AS p (name, place)
    WHERE CASE WHEN o.relkind = 'S' THEN has_sequence_privilege(r.name, o.oid, p.name)
               WHEN p.name IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
                   THEN has_any_column_privilege(r.name, o.oid, p.name)
               ELSE has_table_privilege(r.name, o.oid, p.name) END
    GROUP BY 1, 2, 3
    UNION ALL
    SELECT format('bazar.%I(%s)', f.proname, pg_get_function_identity_arguments(f.oid)), 'ROUTINES', r.name, 'EXECUTE'
    FROM pg_proc f CROSS JOIN roles r
    WHERE f.pronamespace = to_regnamespace('bazar') AND has_function_privilege(r.name, f.oid, 'EXECUTE')
    UNION ALL
    SELECT 'schema bazar', 'SCHEMA', r.name, 'CREATE'
    FROM {_ROLES} AS r WHERE has_schema_privilege(r.name, 'bazar', 'CREATE')
    ORDER BY 1, 3
"""  # noqa: S608 - constants


def exposure(connection: Connection) -> Exposure:
    """Return every table without row security, and all that PUBLIC, `anon` and `authenticated` may use.

    The schema `bazar` must exist.
    """
    notes: dict[str, list[str]] = {}
    statements: list[str] = []
    for table in fetch_values(connection, _UNPROTECTED):
        notes.setdefault(table, []).append("no row security")
        statements.append(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;")
    roles: dict[str, None] = {}
    kinds: dict[str, None] = {}
    for name, kind, grantee, privileges in connection.execute(_REACHABLE).fetchall():
        role = "PUBLIC" if grantee == "public" else grantee
        notes.setdefault(name, []).append(f"{role} may {privileges}")
        roles[role] = kinds[kind] = None
    if roles:
        to = ", ".join(roles)
        statements += [f"REVOKE ALL ON ALL {k} IN SCHEMA bazar FROM {to};" for k in kinds if k != "SCHEMA"]
        statements.append(f"REVOKE ALL ON SCHEMA bazar FROM {to};")
    rows = tuple(Affected(None, name=name, note="; ".join(texts)) for name, texts in sorted(notes.items()))
    return Exposure(rows, " ".join(statements))
